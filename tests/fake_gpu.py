"""Checks of GPU code without a GPU: tensors without memory, a spy of what would wait, counts of launches and bytes.

Within `pretended` (fixture `fake_gpu`), shapes are computed on a GPU that is not there. A backward pass cannot run on
it, so budgets of forward and backward use tensors without memory on the CPU.
"""

from collections import Counter
from contextlib import contextmanager

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def _words(text):
    return frozenset(text.split())


# Operations that launch nothing: they make another view of the same memory, or take memory.
_FREE = _words(
    """view _reshape_alias permute expand slice select unsqueeze squeeze split split_with_sizes unbind transpose alias
    as_strided detach t _unsafe_view lift lift_fresh empty new_empty empty_strided new_empty_strided empty_like
    diagonal view_as unfold chunk is_pinned sym_size device promote_types"""
)
_WRITE_ONLY = _words("full new_full zeros new_zeros ones zeros_like ones_like full_like arange fill_ zero_")
# Operations whose result the host needs before it goes on.
_READS = _words(
    """_local_scalar_dense item nonzero nonzero_static equal is_nonzero allclose unique unique_dim _unique _unique2
    unique_consecutive masked_select bincount histc _linalg_check_errors"""
)


def tensors(*trees):
    """The tensors of arguments or results, also those within lists and dicts."""
    return [leaf for leaf in tree_leaves(trees) if isinstance(leaf, torch.Tensor)]


class Crossings(TorchDispatchMode):
    """Collects the operations that make the host wait for a GPU: copies between them, values read, boolean indices."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = func._schema.name.partition("::")[2]
        there = {t.device.type for t in tensors(args, kwargs, out) if t.dim() or name in ("lift_fresh", "_to_copy")}
        asked = getattr(kwargs.get("device"), "type", "")  # a tensor is made on the host, then copied
        pinned = name in ("_to_copy", "copy_", "to") and kwargs.get("non_blocking", len(args) > 2 and args[2])
        indices = args[1] if name in ("index", "index_put", "index_put_", "_index_put_impl_") else []
        masked = any(t.dtype in (torch.bool, torch.uint8) for t in tensors(indices))
        mixed = len({*there, asked} - {""}) > 1 and not pinned
        if mixed or masked or (name in _READS and "cuda" in there | {t.device.type for t in tensors(args)}):
            self.seen.append(str(func))
        return out


class Counted(TorchDispatchMode):
    """Counts launches and bytes: each operation reads its arguments and writes its results once. Memory that is only
    looked at differently costs nothing, a dimension that is broadcast is read once."""

    def __init__(self):
        super().__init__()
        self.launches, self.traffic = Counter(), Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        space, name = func._schema.name.split("::")
        if space != "prim" and name not in _FREE:
            self.launches[name] += 1
            self.traffic[name] += sum(map(size, tensors(out)))
            if name not in _WRITE_ONLY:
                self.traffic[name] += sum(map(size, tensors(args, kwargs)))
        return out

    @property
    def total(self):
        return sum(self.launches.values())

    @property
    def gigabytes(self):
        return sum(self.traffic.values()) / 1e9


def size(t):
    """Bytes of a tensor without the dimensions along which it is broadcast."""
    count = t.element_size()
    for length, stride in zip(t.shape, t.stride(), strict=True):
        count *= length if stride else 1
    return count


class Autocast(torch.autocast):
    """torch.autocast that does not ask whether the GPU is there."""

    def __init__(self, device_type, dtype=None, enabled=True, cache_enabled=None):
        self.device, self.dtype, self.enabled = device_type, dtype, enabled

    def __enter__(self):
        self.before = torch.is_autocast_enabled(self.device), torch.get_autocast_dtype(self.device)
        torch.set_autocast_enabled(self.device, self.enabled)
        torch.set_autocast_dtype(self.device, self.dtype or self.before[1])
        torch.autocast_increment_nesting()
        return self

    def __exit__(self, *error):
        if not torch.autocast_decrement_nesting():
            torch.clear_autocast_cache()
        torch.set_autocast_enabled(self.device, self.before[0])
        torch.set_autocast_dtype(self.device, self.before[1])


@contextmanager
def pretended(monkeypatch):
    """Tensors without memory, on a GPU that is not there."""
    monkeypatch.setattr(torch, "autocast", Autocast)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self, *_: self)
    monkeypatch.setattr(torch.__future__, "_overwrite_module_params_on_conversion", True)
    try:
        with FakeTensorMode():
            torch.empty(2, 3, dtype=torch.uint8, device="cuda").T.contiguous().float()
    except RuntimeError:
        pytest.skip(f"torch {torch.__version__} asks for a GPU to pretend that there is one")
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


def without_memory(module, device):
    """`module`, made on the CPU, with tensors of shapes alone on `device`; call it within `pretended`."""
    return module._apply(lambda t: torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=device))


@contextmanager
def ranks(count):
    """This process as rank 0 of `count`, the others being pretended: collectives return at once, without values."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=count)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()
