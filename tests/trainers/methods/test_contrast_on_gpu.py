"""SimCLR and SwAV on a GPU that is not there: no step waits for it, and steps launch little."""

from contextlib import ExitStack

import pytest
import torch

from viewstream.pipeline.batch import Batch
from viewstream.trainers.methods.build import build
from viewstream.trainers.methods.method import Now
from viewstream.trainers.recipes.options import SimCLR, SwAV
from viewstream.trainers.training.optim import optimizer_of

from ...fake_gpu import Counted, Crossings, ranks, without_memory
from ..nets import sync_ops

QUEUE = {"batch_size": 16, "epochs": 1, "queue": 32, "queue_epoch": 0}
# Recipe, and the sides of its views.
CASES = {
    "simclr": (SimCLR(arch="test_resnet", batch_size=16, optimizer="lars-simclr"), (32, 32)),
    "swav": (SwAV(arch="test_resnet", optimizer="larc", freeze=3, **QUEUE), (32, 32, 16, 16, 16)),
    "swav-large": (SwAV(arch="test_resnet", batch_size=16, optimizer="larc", freeze=0), (32, 32)),
}


@pytest.fixture
def on_gpu(request, monkeypatch):
    """(recipe, sides, ranks=1) -> its method in train mode on a GPU that is not there, its optimizer, a batch."""
    monkeypatch.setattr(torch.cuda, "default_generators", (torch.Generator(),))
    with ExitStack() as stack:

        def make(recipe, sides, count=1):
            method = build(recipe).to(memory_format=torch.channels_last)
            request.getfixturevalue("fake_gpu")
            if count > 1:
                stack.enter_context(ranks(count))
                sync_ops.on_fake_gpus(stack.enter_context(torch.library._scoped_library("aten", "IMPL")))
            method = without_memory(method, "cuda").train()
            shares = [(recipe.batch_size // count, 3, side, side) for side in sides]
            views = [torch.empty(shape, dtype=torch.bfloat16, device="cuda") for shape in shares]
            labels = torch.empty(len(views[0]), dtype=torch.long, device="cuda")
            batch = Batch(tuple(x.to(memory_format=torch.channels_last) for x in views), labels, labels)
            return method, optimizer_of(method, recipe), batch

        yield make


def step(method, optimizer, batch, number):
    """Step `number` of ten; gradients, which a GPU would have to compute, are without values."""
    now = Now(number, 10, 0)
    method.before_step(now)
    with torch.autocast("cuda", torch.bfloat16):
        loss, _ = method(batch, now)
    for p in method.parameters():
        p.grad = torch.empty_like(p) if p.requires_grad else None
    optimizer.step()
    method.after_step(now)
    return loss


@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.full), 2])
@pytest.mark.parametrize("name", CASES)
def test_no_step_waits_for_the_gpu(name, count, on_gpu):
    """Frozen and trained prototypes, a queue that fills and is full."""
    method, optimizer, batch = on_gpu(*CASES[name], count)
    with Crossings() as crossings:
        for number in range(4):
            loss = step(method, optimizer, batch, number)
    assert not crossings.seen
    assert (loss.dtype, loss.device.type) == (torch.float32, "cuda")


# Launches of a step without its backward: one pass through ResNet-50, or one for each size, the loss, the optimizer.
BUDGETS = {
    "simclr": (SimCLR(arch="resnet50", optimizer="lars-simclr"), (224, 224), 400),
    "swav": (SwAV(arch="resnet50", optimizer="larc", queue=3840, queue_epoch=0), (224,) * 2 + (96,) * 6, 700),
}


@pytest.mark.parametrize("name", BUDGETS)
def test_a_step_without_its_backward_stays_within_its_budget_of_launches(name, on_gpu):
    recipe, sides, budget = BUDGETS[name]
    method, optimizer, batch = on_gpu(recipe, sides)
    step(method, optimizer, batch, 0)
    with Counted() as counted:
        step(method, optimizer, batch, 9)
    assert counted.total <= budget


@pytest.mark.parametrize(("name", "exchanges"), [("simclr", 1), ("swav", 4), ("swav-large", 4)])
def test_the_loss_of_several_ranks_takes_few_exchanges(name, exchanges, on_gpu):
    """SimCLR gathers rows once, SwAV adds up the total and the shares of three iterations; BatchNorm's are its own."""
    method, _, batch = on_gpu(*CASES[name], 2)
    method.before_step(Now(0, 10, 0))
    with Counted() as counted, torch.autocast("cuda", torch.bfloat16):
        method(batch, Now(0, 10, 0))
    seen = sum(counted.launches[kind] for kind in ("_allgather_base_", "allreduce_"))
    assert seen - counted.launches["batch_norm_elemt"] == exchanges
