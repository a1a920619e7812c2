"""A method changes gradients between the backward and the optimizer step: frozen, clipped, whatever the optimizer."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from viewstream.trainers.checkpoints.manager import TrainState
from viewstream.trainers.methods.method import Method
from viewstream.trainers.training import loop
from viewstream.trainers.training.optim import optimizer_of

from ..small_runs import SMALL
from .steps import batch_of, share

FREEZE, STEPS = 3, 6
FP32 = replace(SMALL, precision="fp32", weight_decay=0.1, lr=0.1)


class Frozen(Method):
    """Two layers, the last of which is fixed for the first steps; notes the gradients that the hook sees."""

    def __init__(self, freeze=FREEZE):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.freeze, self.seen = nn.Linear(12, 4), nn.Linear(4, 2), freeze, []

    @classmethod
    def build(cls, recipe, classes):
        return cls()

    @property
    def backbone(self):
        return self.first

    def before_step(self, now):
        self.frozen = now.step < self.freeze

    def before_update(self, optimizer):
        self.seen.append((self.first.weight.grad.clone(), getattr(optimizer, "grad_scale", None)))
        if self.frozen:
            for p in self.last.parameters():
                p.grad = None

    def forward(self, batch, now):
        return self.last(self.first(batch.views[0].flatten(1))).square().mean(), {}


def batches():
    """This rank's share of six batches of eight images."""
    rng = torch.Generator().manual_seed(1)
    return iter([batch_of(torch.randn(8, 3, 2, 2, generator=rng)[share(8)]) for _ in range(STEPS)])


def stepped(recipe, freeze=FREEZE, scale=0.0):
    """The method, its optimizer, and its weights before and after each step of the loop."""
    method = Frozen(freeze)
    optimizer = optimizer_of(method, recipe)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, enabled=bool(scale))
    stepper = loop.Stepper(TrainState(method, optimizer, scaler), recipe, STEPS)
    views, seen = batches(), [[p.detach().clone() for p in method.parameters()]]
    for step in range(STEPS):
        stepper.step(step, views)
        seen.append([p.detach().clone() for p in method.parameters()])
    return method, optimizer, seen


@pytest.mark.parametrize("scale", [0.0, 1024.0])
@pytest.mark.parametrize("name", ["sgd", "adamw", "lars", "larc"])
def test_a_frozen_parameter_neither_decays_nor_gathers_momentum(name, scale):
    method, optimizer, seen = stepped(replace(FP32, optimizer=name), freeze=STEPS, scale=scale)
    for before, after in zip(seen[0][2:], seen[-1][2:], strict=True):
        assert torch.equal(before, after)
    assert not any(p in optimizer.state for p in method.last.parameters())
    assert not torch.equal(seen[0][0], seen[-1][0])


@pytest.mark.parametrize("scale", [0.0, 1024.0])
def test_the_first_step_after_a_freeze_is_that_of_a_new_optimizer(scale):
    method, _, seen = stepped(FP32, scale=scale)
    later = Frozen(0)
    later.load_state_dict(dict(zip(method.state_dict(), seen[FREEZE], strict=True)))
    later(list(batches())[FREEZE], None)[0].backward()
    new = torch.optim.SGD(later.last.parameters(), loop.schedule(FP32, STEPS)(FREEZE), weight_decay=0.1)
    new.step()
    for ours, expected in zip(seen[FREEZE + 1][2:], later.last.parameters(), strict=True):
        torch.testing.assert_close(ours, expected.detach())


@pytest.mark.parametrize("name", ["sgd", "fused", "lars"])
def test_gradients_before_an_update_are_those_of_the_loss_times_the_scale_that_the_optimizer_still_has(
    name, monkeypatch
):
    if name == "fused":  # as on a GPU
        monkeypatch.setattr("viewstream.trainers.training.optim._fused", lambda weights: True)
    recipe = replace(FP32, optimizer=name.replace("fused", "sgd"))
    plain, _, _ = stepped(recipe)
    scaled, _, _ = stepped(recipe, scale=1024.0)
    for (expected, none), (grad, scale) in zip(plain.seen, scaled.seen, strict=True):
        assert none is None
        assert (scale is None) == (name == "sgd")  # there GradScaler has divided already
        torch.testing.assert_close(grad / (1 if scale is None else scale), expected)


def frozen_on_a_rank():
    method, _, seen = stepped(FP32)
    return seen, [grad for grad, _ in method.seen]


@pytest.mark.full
def test_two_ranks_that_freeze_follow_one(on_ranks):
    alone, gradients = frozen_on_a_rank()
    for seen, own in on_ranks(frozen_on_a_rank, 2):
        for expected, found in zip([*alone, gradients], [*seen, own], strict=True):
            torch.testing.assert_close(found, expected)
        assert all(map(torch.equal, seen[0][2:], seen[FREEZE][2:]))
        assert not torch.equal(seen[FREEZE][2], seen[FREEZE + 1][2])
