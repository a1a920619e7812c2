"""A loss or gradient that is not finite ends the run with its step and images, which failure.json keeps."""

import json
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch

from viewstream.shards.errors import UserError
from viewstream.trainers.methods.supervised import Supervised as Classifier
from viewstream.trainers.ranks import rank
from viewstream.trainers.recipes.options import Supervised
from viewstream.trainers.training.failure import magnitude
from viewstream.trainers.training.run import Run, pretrain
from viewstream.trainers.training.setup import training_plan

from ..small_runs import COMMON


class Failing(Classifier):
    """A classifier that fails in its fourth step: `what` is not finite, on the last rank alone."""

    what: ClassVar[str] = "loss"

    def forward(self, batch, now):
        loss, stats = super().forward(batch, now)
        weight = next(self.parameters())
        if now.step == 3 and self.what == "gradient":
            return loss + (0 * weight.sum()).sqrt(), stats  # the slope of a root at 0 is infinite
        if now.step == 3 and self.what == "loss" and rank() + 1 == self.ranks:
            return loss * torch.nan, stats
        return loss, stats

    @property
    def ranks(self):
        return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


@dataclass(frozen=True, kw_only=True)
class Failed(Supervised):
    """A classifier that fails"""

    method_class: ClassVar = Failing
    method: str = field(init=False, default="supervised")


RECIPE = Failed(**COMMON, views="supervised", bn_groups=2)
WHERE = r"at step 4 \(epoch 0, lr 0\.\d+\), failure\.json has its images, `.* --step 4` shows them: lower --lr"


@pytest.mark.parametrize(("what", "words"), [("loss", "the loss is nan"), ("gradient", "the gradient is not finite")])
@pytest.mark.parametrize("log_every", [1, 1000])
def test_what_is_not_finite_is_named_with_its_step_images_and_the_checkpoint(
    run, built, monkeypatch, what, words, log_every, tmp_path
):
    monkeypatch.setattr(Failing, "what", what)
    with pytest.raises(UserError, match=rf"^{words} {WHERE}; last\.pt is from before$"):
        run("run", RECIPE, log_every=log_every, save_every=2)
    found = json.loads((tmp_path / "run" / "failure.json").read_text())
    assert (found["step"], found["epoch"], found["what"]) == (4, 0, what)
    assert found["lr"] > 0
    assert found["ids"] == [step.rows.tolist() for step in list(training_plan(RECIPE, built).steps(0))[3:4]]
    assert torch.tensor(float(found[what][0])).isnan()
    assert found["checkpoint"] == "last.pt"
    assert torch.load(tmp_path / "run" / "last.pt", weights_only=True)["step"] == 2


def test_a_failure_before_the_first_checkpoint_names_none(run, tmp_path):
    with pytest.raises(UserError, match=rf"{WHERE}$"):
        run("run", RECIPE)
    assert json.loads((tmp_path / "run" / "failure.json").read_text())["checkpoint"] is None


def fail_on_a_rank(data, out):
    run = Run(data=data, loader="folder", out=out, device="cpu", log_every=1000, workers=1)
    with pytest.raises(UserError) as error:
        pretrain(RECIPE, run)
    return str(error.value)


def test_of_several_ranks_the_one_that_fails_is_named_with_the_images_of_all(on_ranks, built, tmp_path):
    first, second = on_ranks(fail_on_a_rank, 2, str(built.root), str(tmp_path / "run"))
    assert first == second
    assert first.startswith("the loss of rank 1 is nan at step 4")
    found = json.loads((tmp_path / "run" / "failure.json").read_text())
    assert [value == "nan" for value in found["loss"]] == [False, True]
    (rows,) = [step.rows.tolist() for step in list(training_plan(RECIPE, built).steps(0))[3:4]]
    assert [row for own in found["ids"] for row in own] == rows


def test_a_full_disk_does_not_hide_the_failure(run, tmp_path, monkeypatch):
    (tmp_path / "run" / "failure.json.partial").mkdir(parents=True)
    with pytest.raises(
        UserError, match=r"failure\.json cannot be written \(Is a directory\): the loss is nan at step 4"
    ):
        run("run", RECIPE)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_one_value_that_is_not_finite_shows_in_the_magnitude_and_large_values_do_not(value):
    weights = [torch.zeros(3, 2), torch.zeros(5), torch.zeros(1)]
    for weight in weights[:2]:
        weight.grad = torch.full_like(weight, 1e30)  # whose squares overflow
    assert magnitude(weights).isfinite()
    weights[1].grad[3] = value
    assert not magnitude(weights).isfinite()
