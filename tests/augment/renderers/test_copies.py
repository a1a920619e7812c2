"""Rendering never waits for the device: it copies nothing from the host and reads nothing back. Needs no GPU."""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from viewstream.augment.crops import on_device, rest
from viewstream.augment.draw import draw
from viewstream.augment.recipes import evaluation, moco_v1, moco_v2
from viewstream.augment.renderers import device
from viewstream.augment.renderers.packing import pack
from viewstream.augment.renderers.user_ops import apply_user_ops


@pytest.fixture(autouse=True)
def pretended_gpu():
    """A torch that computes shapes on a GPU that is not there; old ones ask for it all the same."""
    try:
        with FakeTensorMode():
            torch.empty(2, 3, dtype=torch.uint8, device="cuda").T.contiguous().float()
    except RuntimeError:
        pytest.skip(f"torch {torch.__version__} asks for a GPU to pretend that there is one")


class Crossings(TorchDispatchMode):
    """Collects the operations whose tensors are on different devices, and those that read a value."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        devices = {t.device.type for t in (*args, out) if isinstance(t, torch.Tensor) and t.dim()}
        if len(devices) > 1 or any(word in str(func) for word in ("_local_scalar_dense", "nonzero")):
            self.seen.append(str(func))
        return out


@pytest.mark.parametrize("recipe", [moco_v1, moco_v2, evaluation])
def test_rendering_on_a_gpu_copies_nothing_from_the_host_and_reads_nothing_back(recipe):
    view = recipe(32)[0]
    draws = draw(view, np.arange(4, dtype=np.uint64), np.full((4, 2), 60), seed=0, epoch=0, number=0)
    width = pack(rest(view, draws), 4).shape[1]
    with FakeTensorMode(), Crossings() as crossings:
        pixels = torch.empty(4, 32, 32, 3, dtype=torch.uint8, device="cuda")
        out = device.render(on_device(view), pixels, torch.empty(4, width, device="cuda"))
    assert out.device.type == "cuda"
    assert not crossings.seen


def test_user_ops_on_a_gpu_copy_nothing_from_the_host_and_read_nothing_back():
    def noise(x, keyed):
        return x + keyed.normal(*x.shape[1:]) * (keyed.uniform(1, 1, 1) < 0.5)

    with FakeTensorMode(), Crossings() as crossings:
        x, keys = torch.empty(4, 3, 8, 8, device="cuda"), torch.empty(4, dtype=torch.int64, device="cuda")
        out = apply_user_ops((*evaluation(8)[0], noise, noise), x, keys)
    assert out.device.type == "cuda"
    assert not crossings.seen


def test_crossings_sees_a_copy_and_a_read():
    with FakeTensorMode(), Crossings() as crossings:
        x = torch.empty(4, device="cuda")
        x + x.new_tensor([1.0, 2.0, 3.0, 4.0])
        torch.empty(4).to("cuda")
    assert crossings.seen
