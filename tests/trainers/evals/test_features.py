"""Features are fp32 in full unless another precision is asked for, and lie in memory once."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from viewstream.pipeline.batch import Batch
from viewstream.shards.errors import UserError
from viewstream.trainers import ranks
from viewstream.trainers.evals import features as module
from viewstream.trainers.evals.features import features, view_features
from viewstream.trainers.precision import dtype_of, without_tf32

from ...fake_gpu import tensors

BACKENDS = (torch.backends.cudnn, torch.backends.cuda.matmul)


@dataclass
class Whole:
    """A loader of one batch."""

    x: torch.Tensor = field(default_factory=lambda: torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))

    def __len__(self):
        return 1

    def epoch(self, number):
        yield Batch((self.x,), torch.zeros(6, dtype=torch.long), torch.arange(6))


class Recording(nn.Module):
    """A linear layer that notes the switches of TF32."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.tf32 = nn.Linear(4, 3), []

    def forward(self, x):
        self.tf32.append([backend.allow_tf32 for backend in BACKENDS])
        return self.layer(x)


@pytest.fixture
def tf32():
    """TF32 is on, as a program may have set it."""
    before = [backend.allow_tf32 for backend in BACKENDS]
    for backend in BACKENDS:
        backend.allow_tf32 = True
    yield
    for backend, was in zip(BACKENDS, before, strict=True):
        backend.allow_tf32 = was


@pytest.mark.usefixtures("tf32")
def test_features_are_exact_and_without_tf32_which_is_on_again_afterwards():
    net = Recording()
    x, _ = features(net, Whole(), 6)
    assert net.tf32 == [[False, False]]
    assert all(backend.allow_tf32 for backend in BACKENDS)
    assert torch.equal(x, net.layer(Whole().x))


@pytest.mark.parametrize("on", [(True, False), (True, True), (False, False), (False, True)])
def test_every_setting_of_tf32_is_put_back(on, tf32):
    for backend, one in zip(BACKENDS, on, strict=True):
        backend.allow_tf32 = one
    with without_tf32():
        assert [backend.allow_tf32 for backend in BACKENDS] == [False, False]
    assert tuple(backend.allow_tf32 for backend in BACKENDS) == on


@pytest.mark.usefixtures("tf32")
def test_tf32_is_on_again_after_an_error():
    with pytest.raises(UserError), without_tf32():
        raise UserError("stop")
    assert all(backend.allow_tf32 for backend in BACKENDS)


def test_features_of_another_precision_are_those_of_autocast():
    net = Recording()
    x, _ = features(net, Whole(), 6, torch.bfloat16)
    assert x.dtype == torch.float32
    assert torch.equal(x, x.bfloat16().float())
    assert not torch.equal(x, features(net, Whole(), 6)[0])


def test_fp16_needs_a_gpu():
    assert dtype_of("fp16", torch.device("cuda")) == torch.float16
    assert dtype_of("bf16", torch.device("cpu")) == torch.bfloat16
    with pytest.raises(UserError, match="--precision fp16 needs a GPU"):
        dtype_of("fp16", torch.device("cpu"))


class Shares:
    """Every `ranks`-th image in batches of 8, out of order; the loader of one of `ranks` processes."""

    def __init__(self, x, target, rank=0, ranks=1):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))[rank::ranks]
        self.batches = [Batch((x[rows], -x[rows]), target[rows], rows) for rows in order.split(8)]

    def __len__(self):
        return len(self.batches)

    def epoch(self, number):
        return iter(self.batches)


class Same(nn.Module):
    """Features that are the images themselves."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x


class Peak(TorchDispatchMode):
    """The largest number of bytes of results that are alive at a time."""

    def __init__(self):
        super().__init__()
        self.alive, self.bytes = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        before = {t.untyped_storage().data_ptr() for t in tensors(args, kwargs)}
        for storage in (t.untyped_storage() for t in tensors(out)):
            if storage.data_ptr() not in before:
                self.alive[StorageWeakRef(storage)] = storage.nbytes()
        self.alive = {one: size for one, size in self.alive.items() if not one.expired()}
        self.bytes = max(self.bytes, sum(self.alive.values()))
        return out


@pytest.mark.parametrize("views", [1, 2])
def test_features_need_the_memory_of_themselves_and_a_few_batches(views):
    torch.manual_seed(0)
    net, x = nn.Linear(4, 64), torch.randn(2000, 4)
    loader = Shares(x, torch.zeros(2000, dtype=torch.long))
    with Peak() as peak:
        found, _ = view_features(net, loader, 2000, views)
    assert all(torch.equal(one, net(sign * x)) for one, sign in zip(found, (1, -1), strict=False))
    assert 1 <= peak.bytes / (2000 * views * 64 * 4) < 1.2


def test_the_rows_of_several_ranks_are_those_of_one_to_the_bit(monkeypatch):
    """Also minus zero and the smallest numbers; a rank without an image learns the width from the others."""
    x, target = torch.randn(20, 3), torch.arange(20) - 1
    x[3], x[4, 1] = -0.0, 1e-45
    net, parts = Same(), []
    alone = view_features(net, Shares(x, target), 20, 2)
    monkeypatch.setattr(ranks, "world_size", lambda: 3)
    monkeypatch.setattr(module, "gather", lambda width: torch.cat([width, torch.tensor([3])]))
    monkeypatch.setattr(ranks.dist, "all_reduce", lambda part: parts.append(part.clone()))
    for loader in (Shares(x, target, 0, 2), Shares(x, target, 1, 2), Shares(x[:0], target[:0])):
        view_features(net, loader, 20, 2)
    assert len(parts) == 6
    rows = (parts[0] + parts[2] + parts[4]).view(torch.float32).unbind(dim=1)
    for one, other in zip(rows, alone[0], strict=True):
        assert torch.equal(one.view(torch.int32), other.contiguous().view(torch.int32))
    assert torch.equal((parts[1] + parts[3] + parts[5]).view(torch.long), alone[1])
