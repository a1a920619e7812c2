"""A temperature that goes up and down is a function of the step, off by default, and in every contrastive loss."""

import math
from dataclasses import replace

import pytest
import torch

from viewstream.augment.recipes import views_of
from viewstream.shards.errors import UserError
from viewstream.trainers.methods.build import build, check
from viewstream.trainers.methods.method import Now
from viewstream.trainers.recipes.options import KCL, MoCo, SimCLR
from viewstream.trainers.training.run import Run, pretrain

from ..small_runs import COMMON, losses
from .steps import batch_of

QUEUE = {"queue": 16, "bn_groups": 1, "batch_size": 4}
RECIPES = {
    "moco": MoCo(arch="test_resnet", dim=8, **QUEUE),
    "kcl": KCL(arch="test_resnet", dim=8, **QUEUE),
    "simclr": SimCLR(arch="test_resnet", dim=8, head="mlp"),
}


def loss_at(recipe, step, epochs=8, per_epoch=5):
    """The loss of the same batch at a step, in double precision."""
    method = build(replace(recipe, epochs=epochs), 4).double()
    torch.manual_seed(1)
    batch, now = batch_of(*torch.randn(2, 4, 3, 32, 32).double()), Now(step, epochs * per_epoch, 0)
    method.before_step(now)
    return method(batch, now)[0].item()


@pytest.mark.parametrize("name", RECIPES)
def test_the_loss_has_the_temperature_of_the_formula(name):
    recipe = replace(RECIPES[name], temperature=0.1, temperature_max=1.0, temperature_period=4)
    for step in (0, 3, 10, 20, 33):  # an epoch has 5 steps, a period 20
        tau = (1.0 - 0.1) * (1 + math.cos(2 * math.pi * step / 20)) / 2 + 0.1
        constant = replace(RECIPES[name], temperature=tau)
        assert loss_at(recipe, step) == pytest.approx(loss_at(constant, step), rel=1e-12)


def test_it_is_off_by_default_and_more_epochs_do_not_change_it():
    assert build(RECIPES["moco"], 4).wave is None
    recipe = replace(RECIPES["simclr"], temperature_max=1.0, temperature_period=4)
    assert loss_at(recipe, 7, epochs=8) == loss_at(recipe, 7, epochs=30)


def test_a_run_with_more_epochs_repeats_the_losses_of_a_shorter_one(built, tmp_path):
    recipe = SimCLR(**COMMON | {"schedule": "step", "milestones": ()}, views="simclr", dim=8)
    recipe = replace(recipe, temperature_max=1.0, temperature_period=1)
    run = {"data": str(built.root), "loader": "folder", "device": "cpu", "log_every": 1}
    whole = losses(pretrain(recipe, Run(**run, out=str(tmp_path / "whole"))))
    pretrain(replace(recipe, epochs=1), Run(**run, out=str(tmp_path / "longer")))
    longer = pretrain(recipe, Run(**run, out=str(tmp_path / "longer"), resume="auto"))
    assert losses(longer) == whole
    assert whole != losses(
        pretrain(replace(recipe, temperature_max=0.0, temperature_period=0), Run(**run, out=str(tmp_path / "constant")))
    )


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"temperature_max": 1.0}, "--temperature-max 1 and --temperature-period 0 go together: give both"),
        ({"temperature_period": 3}, "--temperature-max 0 and --temperature-period 3 go together"),
        ({"temperature_max": 0.1, "temperature_period": 3}, "--temperature-max 0.1 is not above --temperature 0.5"),
    ],
)
def test_half_of_its_options_and_a_maximum_below_the_temperature_are_refused(name, options, reason, built):
    recipe = replace(RECIPES[name], temperature=0.5, **options)
    with pytest.raises(UserError, match=reason):
        check(recipe, views_of("moco_v2"), built)
