"""A method from outside the package trains, resumes and is evaluated without an entry in any list of ours."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from viewstream.shards.errors import UserError
from viewstream.trainers.methods.build import METHODS, build, check
from viewstream.trainers.methods.method import Method
from viewstream.trainers.nets.encoder import Encoder, backbone
from viewstream.trainers.recipes.options import Recipe
from viewstream.trainers.tasks.options import Knn
from viewstream.trainers.tasks.run import evaluate
from viewstream.trainers.training.run import Run, pretrain

from ..small_runs import COMMON, losses, rows


class RotationNet(Method):
    """Predict by which quarter turn an image was rotated, arXiv:1803.07728."""

    def __init__(self, online):
        super().__init__()
        self.online = online

    @classmethod
    def build(cls, recipe, classes):
        body, width = backbone(recipe.arch)
        return cls(Encoder(body, nn.Linear(width, recipe.turns)))

    @classmethod
    def check(cls, recipe, views, data):
        if len(views) != 1:
            raise UserError(f"--views {recipe.views} makes {len(views)} views: rotation takes one")

    @property
    def backbone(self):
        return self.online.backbone

    def forward(self, batch, now):
        (x,), turns = batch.views, self.online.head.out_features
        turned = torch.cat([x.rot90(turn, (2, 3)) for turn in range(turns)])
        target = torch.arange(turns, device=x.device).repeat_interleave(len(x))
        scores = self.online(turned).float()
        return F.cross_entropy(scores, target), {"acc1": (scores.argmax(dim=1) == target).float().mean()}


@dataclass(frozen=True, kw_only=True)
class Rotation(Recipe):
    """Rotation prediction"""

    method_class: ClassVar = RotationNet
    method: str = field(init=False, default="rotation")
    views: str = "supervised"
    turns: int = 4


RECIPE = Rotation(**COMMON)


@pytest.fixture(scope="module")
def trained(built, built_val, tmp_path_factory):
    """A run of the rotation method: 12 steps, kNN after each epoch."""
    sets = {"data": str(built.root), "val": str(built_val.root), "loader": "folder"}
    out = str(tmp_path_factory.mktemp("own") / "run")
    return pretrain(RECIPE, Run(**sets, device="cpu", out=out, log_every=1, eval_every=1, knn_k=5, keep_every=1))


def test_a_method_of_a_users_own_trains_and_is_measured_between_epochs(trained):
    assert "rotation" not in METHODS
    assert losses(trained).keys() == set(range(1, 13))
    assert losses(trained)[1] == pytest.approx(1.39, abs=0.3)  # ln(4) is the loss of guessing
    assert all("acc1" in row for row in rows(trained) if "loss" in row)
    assert [row["epoch"] for row in rows(trained) if "knn" in row] == [0, 1]


def test_it_resumes_bit_for_bit_and_refuses_other_options(trained, built, tmp_path):
    half = str(trained / "epoch-0001.pt")
    run = Run(data=str(built.root), loader="folder", device="cpu", out=str(tmp_path / "run"), log_every=1, resume=half)
    assert losses(pretrain(RECIPE, run)) == {step: loss for step, loss in losses(trained).items() if step > 6}
    with pytest.raises(UserError, match=r"another recipe \(turns 4 -> 2\)"):
        pretrain(replace(RECIPE, turns=2), replace(run, out=str(tmp_path / "other")))


def test_its_checkpoint_is_evaluated_like_ours(trained, sets):
    options = Knn(checkpoint=str(trained / "last.pt"), **sets, loader="folder", device="cpu", k=5, max_k=11)
    measured = [row["knn"] for row in rows(trained) if "knn" in row][-1]
    assert evaluate(options)["knn/top1 k=5 T=0.07"] == pytest.approx(measured, abs=1e-6)


def test_its_own_check_and_those_of_every_recipe_apply(built):
    with pytest.raises(UserError, match="rotation takes one"):
        check(RECIPE, ((), ()), built)
    with pytest.raises(UserError, match="--accumulate 3 does not divide a batch of 16"):
        check(replace(RECIPE, accumulate=3), ((),), built)


def test_its_weights_are_a_function_of_the_seed():
    one, again, other = (build(replace(RECIPE, seed=seed)).online.head.weight for seed in (1, 1, 2))
    assert one.equal(again)
    assert not one.equal(other)


def test_a_recipe_that_leads_to_no_method_is_refused_by_name():
    @dataclass(frozen=True, kw_only=True)
    class Nameless(Recipe):
        method: str = field(init=False, default="rotatoin")

    with pytest.raises(UserError, match="unknown method 'rotatoin'"):
        build(Nameless())
