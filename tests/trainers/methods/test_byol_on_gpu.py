"""BYOL, STS and M2T on a GPU that is not there: no step waits for it, teachers launch little."""

from contextlib import ExitStack

import pytest
import torch

from viewstream.pipeline.batch import Batch
from viewstream.trainers.methods.build import build
from viewstream.trainers.methods.masks import GRANULARITIES
from viewstream.trainers.methods.method import Now
from viewstream.trainers.recipes.options import BYOL, M2T, STS
from viewstream.trainers.training.lars import LARS
from viewstream.trainers.training.optim import optimizer_of

from ...fake_gpu import Counted, Crossings, ranks, without_memory
from ..nets import sync_ops

CASES = {
    "byol": BYOL(arch="test_resnet"),
    **{f"sts-{name}": STS(arch="test_resnet", granularity=name) for name in GRANULARITIES},
    "m2t": M2T(arch="test_resnet"),
}
NOW = Now(3, 10, 5)
FULL = pytest.mark.full
COUNTS = [pytest.param(1, marks=FULL), 2]  # of ranks
FIRST, *OTHERS = GRANULARITIES
LONG = {f"sts-{name}" for name in OTHERS}


@pytest.fixture
def on_gpu(request, monkeypatch):
    """(recipe, ranks=1, side=64) -> its method in train mode on a GPU that is not there, and a batch of bf16 views."""
    monkeypatch.setattr(torch.cuda, "default_generators", (torch.Generator(),))
    with ExitStack() as stack:

        def make(recipe, count=1, side=64):
            method = build(recipe).to(memory_format=torch.channels_last)  # made outside of the fixture
            request.getfixturevalue("fake_gpu")
            if count > 1:
                stack.enter_context(ranks(count))
                sync_ops.on_fake_gpus(stack.enter_context(torch.library._scoped_library("aten", "IMPL")))
            method = without_memory(method, "cuda").train()
            x = torch.empty(recipe.batch_size // count, 3, side, side, dtype=torch.bfloat16, device="cuda")
            labels = torch.empty(len(x), dtype=torch.long, device="cuda")
            return method, Batch((x.to(memory_format=torch.channels_last),) * 2, labels, labels)

        yield make


def step(method, batch):
    """One step without backward and optimizer, as the training loop takes it."""
    method.before_step(NOW)
    with torch.autocast("cuda", torch.bfloat16):
        loss, _ = method(batch, NOW)
    method.after_step(NOW)
    return loss


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", [pytest.param(name, marks=FULL) if name in LONG else name for name in CASES])
def test_no_step_waits_for_the_gpu(name, count, on_gpu):
    method, batch = on_gpu(CASES[name], count)
    with Crossings() as crossings:
        for _ in range(2):
            loss = step(method, batch)
    assert not crossings.seen
    assert (loss.dtype, loss.device.type) == (torch.float32, "cuda")


@pytest.mark.parametrize("count", COUNTS)
def test_a_step_of_lars_does_not_wait(count, on_gpu):
    method, _ = on_gpu(BYOL(arch="test_resnet", optimizer="lars"), count)
    optimizer = optimizer_of(method, BYOL(arch="test_resnet", optimizer="lars"))
    assert isinstance(optimizer, LARS)
    for p in method.parameters():
        p.grad = torch.empty_like(p) if p.requires_grad else None
    with Crossings() as crossings:
        for _ in range(2):
            optimizer.step()
    assert not crossings.seen


@pytest.mark.parametrize("granularity", [FIRST, *(pytest.param(name, marks=FULL) for name in OTHERS)])
def test_an_update_of_sts_launches_at_most_200_operations(granularity, on_gpu):
    method, _ = on_gpu(STS(arch="resnet50", granularity=granularity))
    with Counted() as counted:
        method.before_step(NOW)
    assert counted.launches["_foreach_lerp_"] == 1
    tensors = len(list(method.target.parameters()))  # each of them is a launch unless a mask has its shape
    assert counted.total - 1 + tensors <= 200


def test_two_passes_of_the_m2t_teacher_launch_at_most_1100_operations(on_gpu):
    method, batch = on_gpu(M2T(arch="resnet50"), side=224)
    method.before_step(NOW)
    with Counted() as counted, torch.autocast("cuda", torch.bfloat16), torch.no_grad():
        for x in batch.views:
            method.shadow.network()(x)
    assert counted.total <= 1100
    assert counted.gigabytes <= 125


def test_a_step_exchanges_the_statistics_of_the_whole_m2t_teacher_once(on_gpu, monkeypatch):
    method, batch = on_gpu(M2T(arch="test_resnet"), 2)
    method.before_step(NOW)
    with torch.no_grad(), Counted() as counted:
        for x in batch.views:
            method.target(x)
        method.after_step(NOW)
    assert sum(count for name, count in counted.launches.items() if "reduce" in name) == 1


@pytest.mark.full
def test_the_forward_of_m2t_launches_at_most_2500_operations(on_gpu):
    """Two passes of the student and two of the teacher, 256 images in 8 groups."""
    method, batch = on_gpu(M2T(arch="resnet50"), side=224)
    method.before_step(NOW)
    with Counted() as counted, torch.autocast("cuda", torch.bfloat16):
        method(batch, NOW)
    assert counted.total <= 2500
