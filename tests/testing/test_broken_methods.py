"""The checker of methods names the method that breaks a law, and the law."""

from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch
from torch import nn

from viewstream.testing import BrokenLaw, check_method
from viewstream.trainers import Encoder, Method, Recipe, backbone


class Sound(Method):
    """The mean square of a linear head."""

    def __init__(self, online):
        super().__init__()
        self.online, self.calls = online, 0

    @classmethod
    def build(cls, recipe, classes):
        body, width = backbone(recipe.arch)
        return cls(Encoder(body, nn.Linear(width, 4)))

    @property
    def backbone(self):
        return self.online.backbone

    def forward(self, batch, now):
        return self.online(batch.views[0]).square().mean(), {}


class Counting(Sound):
    """Keeps a number that its state dict does not hold."""

    def forward(self, batch, now):
        self.calls += 1
        return self.calls * super().forward(batch, now)[0], {}


class Idle(Sound):
    """Has a parameter that no loss reaches."""

    def __init__(self, online):
        super().__init__(online)
        self.unused = nn.Parameter(torch.zeros(3))


class PerImage(Sound):
    def forward(self, batch, now):
        return self.online(batch.views[0]).square().mean(dim=1), {}


class Attached(Sound):
    def forward(self, batch, now):
        loss = super().forward(batch, now)[0]
        return loss, {"loss": loss}


class Unseeded(Sound):
    count = 0

    @classmethod
    def build(cls, recipe, classes):
        cls.count += 1
        torch.manual_seed(cls.count)
        return super().build(recipe, classes)


def recipe_of(kind):
    @dataclass(frozen=True, kw_only=True)
    class Tested(Recipe):
        method_class: ClassVar[type | None] = kind
        method: str = field(init=False, default="tested")
        views: str = "supervised"

    return Tested(arch="test_resnet", size=32, batch_size=8)


def test_a_method_that_keeps_the_laws_passes():
    check_method(recipe_of(Sound))


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (Counting, "'a resume from the state dict repeats the losses bit for bit': losses"),
        (Idle, "'every parameter that requires a gradient gets one': unused"),
        (PerImage, "'the loss is a scalar with a gradient'"),
        (Attached, "'stats carry no gradient': loss"),
        (Unseeded, '"weights are a function of the recipe\'s seed"'),
    ],
)
def test_a_method_that_breaks_a_law_is_named_with_the_law(kind, law):
    with pytest.raises(BrokenLaw, match=f"{kind.__name__} breaks the law {law}"):
        check_method(recipe_of(kind))
