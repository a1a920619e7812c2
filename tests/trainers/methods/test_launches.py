"""Steps of methods with groups of BatchNorm statistics launch little and never wait for a GPU."""

import pytest
import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode

from viewstream.pipeline.batch import Batch
from viewstream.trainers.methods.build import build
from viewstream.trainers.methods.method import Now
from viewstream.trainers.nets.dropout import begin_step
from viewstream.trainers.recipes.options import KCL, SEED, MoCo, Supervised

from ...fake_gpu import Counted, Crossings, pretended, without_memory

QUEUE = {"arch": "test_resnet", "queue": 32, "dim": 16, "bn_groups": 4}
# Recipe, and the sides of its views.
RECIPES = {
    "moco": (MoCo(**QUEUE, head="dropout"), (32, 32)),
    "kcl": (KCL(**QUEUE, batch_size=16), (32, 32)),
    "seed": (SEED(**QUEUE, teacher_arch="test_resnet", views="seed"), (32,)),
    "seed-patches": (SEED(**QUEUE, teacher_arch="test_resnet", views="seed_patches"), (32, 16, 16, 16)),
    "supervised": (Supervised(arch="mobilenetv3_small", bn_groups=4), (32,)),
    "frozen": (Supervised(arch="efficientnet_b0", bn_groups=4, trained="classifier", frozen_bn="train"), (32,)),
}


class Written(TorchDispatchMode):
    """Kernels that write into given tensors leave their shapes as they are; without memory nothing else happens.

    Torch finds these shapes too, but takes 20 ms for each call."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.native_batch_norm.out:
            return tuple(kwargs[name] for name in ("out", "save_mean", "save_invstd"))
        return function(*args, **(kwargs or {}))


def batch_of(count, sides, device):
    views = (torch.empty(count, 3, side, side, device=device) for side in sides)
    label = torch.empty(count, dtype=torch.long, device=device)
    return Batch(tuple(x.contiguous(memory_format=torch.channels_last) for x in views), label, label)


@pytest.fixture(params=[pytest.param(1, marks=pytest.mark.full), 2])
def ranks(request):
    """One process, or the first of two in a group that sends nothing."""
    if request.param > 1:
        dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=request.param)
    yield request.param
    if request.param > 1:
        dist.destroy_process_group()


def method_of(recipe):
    """The method of a recipe, made before tensors lose their memory."""
    return build(recipe, classes=10).to(memory_format=torch.channels_last).train()


@pytest.mark.parametrize("name", RECIPES)
def test_no_step_waits_for_the_gpu(name, ranks, monkeypatch):
    recipe, sides = RECIPES[name]
    method = method_of(recipe)
    with pretended(monkeypatch), Written(), Crossings() as crossings:
        without_memory(method, "cuda")
        batch = batch_of(16 // ranks, sides, "cuda")
        crossings.seen.clear()
        for step in range(-method.prefill, 2):
            now = Now(step, 2, 0)
            begin_step(method, 0, step)
            with torch.autocast("cuda", torch.bfloat16):
                if step < 0:
                    method.fill(batch, now)
                    continue
                method.before_step(now)
                method(batch, now)
            method.after_step(now)
    assert not crossings.seen


def counted(recipe, dtype, monkeypatch):
    """Launches of a forward and a backward pass of 256 images."""
    method = method_of(recipe)
    with pretended(monkeypatch), Written(), Counted() as launches:
        without_memory(method, "cpu")
        batch = batch_of(256, (224, 224), "cpu")
        launches.launches.clear()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss, _ = method(batch, Now(1, 10, 0))
        loss.backward()
    return launches


@pytest.mark.parametrize("dtype", [pytest.param(torch.float32, marks=pytest.mark.full), torch.bfloat16])
def test_a_step_of_moco_with_eight_groups_launches_at_most_2000_kernels(dtype, monkeypatch):
    """6,900 when the network ran once for each group. bf16 adds a cast of each weight and gradient."""
    launches = counted(MoCo(arch="resnet50", bn_groups=8), dtype, monkeypatch)
    assert launches.total <= 2000
    assert launches.launches["native_batch_norm"] == 2 * 8 * 53
    assert launches.launches["convolution"] == 2 * 53  # on the whole batch
