"""DINO on a GPU that is not there: no step waits for it, and a step launches little."""

from contextlib import ExitStack

import pytest
import torch

from viewstream.pipeline.batch import Batch
from viewstream.trainers.methods.build import build
from viewstream.trainers.methods.method import Now
from viewstream.trainers.nets.dropout import begin_step
from viewstream.trainers.recipes.options import DINO
from viewstream.trainers.training.optim import optimizer_of

from ...fake_gpu import Counted, Crossings, ranks, without_memory
from ..nets import sync_ops

SMALL = {"dim": 32, "hidden": 32, "bottleneck": 16}
CASES = {
    "vit": DINO(arch="test_vit", **SMALL),
    "resnet": DINO(arch="test_resnet", optimizer="sgd", head_bn=True, **SMALL),
}
NOW = Now(3, 10, 5)


@pytest.fixture
def on_gpu(request, monkeypatch):
    """(recipe, images, sides, ranks=1) -> its method in train mode on a GPU that is not there, and a batch of views."""
    monkeypatch.setattr(torch.cuda, "default_generators", (torch.Generator(),))
    with ExitStack() as stack:

        def make(recipe, images, sides, count=1):
            method = build(recipe).to(memory_format=torch.channels_last)  # made outside of the fixture
            request.getfixturevalue("fake_gpu")
            if count > 1:
                stack.enter_context(ranks(count))
                sync_ops.on_fake_gpus(stack.enter_context(torch.library._scoped_library("aten", "IMPL")))
            method = without_memory(method, "cuda").train()
            views = (torch.empty(images, 3, side, side, dtype=torch.bfloat16, device="cuda") for side in sides)
            labels = torch.empty(images, dtype=torch.long, device="cuda")
            return method, Batch(tuple(x.to(memory_format=torch.channels_last) for x in views), labels, labels)

        yield make


def step(method, batch, optimizer):
    """One step without the backward, as the training loop takes it."""
    begin_step(method, 0, 3)
    method.before_step(NOW)
    with torch.autocast("cuda", torch.bfloat16):
        loss, _ = method(batch, NOW)
    for p in method.online.parameters():
        p.grad = torch.empty_like(p) if p.requires_grad else None
    method.before_update(optimizer)
    method.after_step(NOW)
    return loss


@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.full), 2])
@pytest.mark.parametrize("name", CASES)
def test_no_step_waits_for_the_gpu(name, count, on_gpu):
    method, batch = on_gpu(CASES[name], 8, (32, 32, 16, 16, 16), count)
    optimizer = optimizer_of(method, CASES[name])
    optimizer.grad_scale = torch.empty((), device="cuda")
    with Crossings() as crossings:
        for _ in range(2):
            loss = step(method, batch, optimizer)
    assert not crossings.seen
    assert (loss.dtype, loss.device.type) == (torch.float32, "cuda")


@pytest.mark.full
def test_the_forward_of_a_vit_with_ten_crops_launches_at_most_2600_operations(on_gpu):
    """12 blocks, three times: the student's large and small crops, the teacher's large ones. Half of the operations are
    the keyed masks of drop path, which a compiled network computes in few kernels."""
    method, batch = on_gpu(DINO(arch="vit_small_patch16_224"), 64, (224, 224, *(96,) * 8))
    method.before_step(NOW)
    with Counted() as counted, torch.autocast("cuda", torch.bfloat16):
        method(batch, NOW)
    assert counted.total <= 2600


def test_what_surrounds_the_forward_of_a_vit_launches_at_most_300_operations(on_gpu):
    """The gradient of each tensor is shortened by a launch of its own."""
    recipe = DINO(arch="vit_small_patch16_224")
    method, _ = on_gpu(recipe, 64, (224, 224))
    optimizer = optimizer_of(method, recipe)
    method.before_step(NOW)
    method.means = [torch.empty(65536, device="cuda")]
    for p in method.online.parameters():
        p.grad = torch.empty_like(p) if p.requires_grad else None
    tensors = sum(p.requires_grad for p in method.parameters())
    with Counted() as counted:
        begin_step(method, 0, 3)
        method.before_update(optimizer)
        method.after_step(NOW)
    assert counted.total + tensors <= 300
