"""The learning rate of every recipe is the rate of its source program, by the epoch or by the step."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from viewstream.shards.cli import parse
from viewstream.trainers.recipes import RECIPES, recipe_named
from viewstream.trainers.recipes.balfeat import kcl_lt, linear, sl_clsset1, sl_step
from viewstream.trainers.recipes.ensemble import sts_200, sts_linear, sts_linear_byol
from viewstream.trainers.recipes.m2t import m2t_4096_100
from viewstream.trainers.recipes.moco import moco_v1, moco_v2
from viewstream.trainers.recipes.options import Recipe
from viewstream.trainers.recipes.seed import seed_linear, seed_resnet18
from viewstream.trainers.recipes.small import ssl_small_200, ssl_small_resnet18, transfer, transfer_finetune
from viewstream.trainers.training.optim import cosine, first_rate, schedule, warm_cosine

STEPS = 7  # per epoch; any number will do if the rate is constant within an epoch


def seed_at(batch, **more):
    return replace(seed_resnet18(), batch_size=batch, lr=0.03 * batch / 256, **more)


PART_A = {
    "moco_step_200": moco_v1(),
    "moco_cos_200": moco_v2(),
    "kcl_step_200": replace(kcl_lt(), schedule="step"),
    "kcl_cos_200": kcl_lt(),
    "kcl_cos_lrend_200": replace(kcl_lt(), lr_end=0.001),
    "sl_default_90": sl_step(),
    "sl_cos_90": sl_clsset1(),
    "lincls_100": linear(),
    "seed_cos_bs256_200": seed_at(256),
    "seed_cos_bs1024_200": seed_at(1024),
    "seed_cos_bs64_200": seed_at(64),
    "seed_step_bs1024_200": seed_at(1024, schedule="step"),
    "seed_lincls_bs1024_100": replace(seed_linear(), batch_size=1024, lr=120.0),
}
PART_B = {
    "moco_cos_800_lr006": ssl_small_resnet18(),
    "moco_cos_200_lr006": ssl_small_200(),
    "moco_step_200_lr003": moco_v1(),
    "lincls_100_lr30": linear(),
    "transfer_frozen_100_lr30": transfer(),
    "transfer_finetune_100_lr1": transfer_finetune(),
}


@pytest.mark.parametrize(
    ("file", "name", "recipe"),
    [("lr_schedules", *item) for item in PART_A.items()] + [("schedule_sslsmall", *item) for item in PART_B.items()],
)
def test_rates_by_the_epoch_equal_the_recorded_ones(file, name, recipe, golden):
    expected, lr = golden(file)[name].numpy(), schedule(recipe, STEPS)
    assert recipe.epochs == len(expected)
    for within in (0, STEPS - 1):  # the epoch's first and last step
        ours = [lr(epoch * STEPS + within) for epoch in range(recipe.epochs)]
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


def test_no_recorded_schedule_is_left_out(golden):
    assert PART_A.keys() == golden("lr_schedules").keys()
    assert PART_B.keys() == golden("schedule_sslsmall").keys()


@pytest.mark.parametrize(
    ("name", "recipe"),
    [("pretrain_sts200_in1k", sts_200()), ("pretrain_m2t100_lars4096", m2t_4096_100())],
)
def test_pretraining_rates_by_the_step_equal_the_recorded_ones(name, recipe, golden):
    """Recorded: the rate set after iteration i = 1, 2, ..., which iteration i + 1 uses."""
    g = golden(f"schedule_{name}")
    for option in ("epochs", "warmup_epochs", "batch_size"):
        assert getattr(recipe, option) == g[option]
    assert recipe.lr == pytest.approx(float(g["base_lr"]), abs=1e-12)
    lr = schedule(recipe, int(g["iters_per_epoch"]))
    assert lr(0) == float(g["warmup_lr"])
    np.testing.assert_allclose([lr(int(i)) for i in g["lr_iter"]], g["lr"].numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["in1k", "tiny"])
def test_the_rates_of_spatial_ensembles_linear_probes_equal_the_recorded_ones(name, golden):
    g = golden(f"schedule_lineval_{name}")
    steps, batch = int(g["iters_per_epoch"]), int(g["batch_size"])
    for kind, recipe in (("multistep", sts_linear()), ("cos", sts_linear_byol())):
        lr = schedule(replace(recipe, lr=recipe.lr * batch / 256), steps)
        assert lr(0) == float(g[f"{kind}_base_lr"])
        ours = [lr(int(i)) for i in g[f"{kind}_iter"]]
        np.testing.assert_allclose(ours, g[f"{kind}_lr"].numpy(), rtol=0, atol=1e-12)


SWAV = Recipe(schedule="warmcos-closed", warmup_epochs=10, warmup_lr=0.3, lr=4.8, lr_end=0.0048)
BY_STEP = {
    "100ep_4096": replace(SWAV, epochs=100),
    "800ep_4096": replace(SWAV, epochs=800),
    "200ep_256": replace(SWAV, epochs=200, warmup_epochs=0, lr=0.6, lr_end=0.0006),
}


@pytest.mark.parametrize("name", BY_STEP)
def test_the_rates_of_swav_equal_the_recorded_ones(name, golden):
    g, lr = golden("swav_schedule"), schedule(BY_STEP[name], int(golden("swav_schedule")[f"{name}/iters_per_epoch"]))
    ours = [lr(int(step)) for step in g[f"{name}/iter"]]
    np.testing.assert_allclose(ours, g[f"{name}/lr"].numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["w1", "w2"])
def test_the_rates_of_sdclr_equal_the_recorded_ones(name, golden):
    """Its scheduler steps before the batch: the first rate is above 0, the last one the lowest."""
    g = golden(f"simclr_steps_{name}")
    options = {key: int(g[key]) for key in ("epochs", "warmup_epochs")}
    recipe = Recipe(schedule="warmcos-ahead", lr=float(g["base_lr"]), lr_end=float(g["min_lr"]), **options)
    lr = schedule(recipe, int(g["iters_per_epoch"]))
    np.testing.assert_allclose([lr(step) for step in range(6)], g["lrs"].numpy(), rtol=0, atol=1e-15)
    assert lr(5) == pytest.approx(1e-6)


def test_the_cosine_of_sthalles_begins_after_ten_epochs_and_has_as_many_epochs_as_an_epoch_has_steps():
    """CosineAnnealingLR(T_max=len(train_loader)), stepped at the end of each epoch from number 10 on."""
    lr, weight = schedule(Recipe(schedule="cos-late", lr=1.0, epochs=20), STEPS), torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], 1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS)
    for epoch in range(17):
        assert lr(epoch * STEPS + STEPS - 1) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        if epoch >= 10:
            scheduler.step()


@pytest.mark.parametrize("kind", ["warmcos", "warmcos-closed", "warmcos-ahead"])
def test_a_warm_up_of_all_epochs_ends_at_the_highest_rate(kind):
    lr = schedule(Recipe(schedule=kind, epochs=2, warmup_epochs=2, lr=1.0), 3)
    rates = [lr(step) for step in range(6)]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(5 / 6 if kind == "warmcos" else 1.0)


@given(st.floats(1e-3, 10), st.integers(1, 50), st.integers(0, 20), st.floats(0, 1e-3))
def test_a_cosine_starts_at_its_maximum_and_never_rises_and_a_warm_up_never_falls(lr, epochs, warm, end):
    down = [cosine(lr, e, epochs, end) for e in range(epochs)]
    assert down[0] == pytest.approx(lr)
    assert down == sorted(down, reverse=True)
    assert down[-1] >= end
    up = [warm_cosine(lr, s, warm + epochs, warm, 1e-6) for s in range(warm + 1)]
    assert up == sorted(up)
    assert up[-1] == pytest.approx(lr)


@pytest.mark.parametrize("name", RECIPES)
def test_the_rate_of_every_recipe_is_positive_and_never_above_its_lr(name):
    recipe = RECIPES[name]()
    steps = recipe.epochs  # per epoch, on which the cosine of sthalles depends
    lr = schedule(recipe, steps)
    rates = [lr(epoch * steps) for epoch in range(recipe.epochs)]
    assert min(rates[1:]) > 0
    assert rates[0] > 0 or (recipe.warmup_epochs and recipe.warmup_lr == 0)  # only a warm-up may begin at 0
    assert max(rates) <= max(recipe.lr, first_rate(recipe)) * (1 + 1e-12)


@pytest.mark.parametrize(("batch", "program"), [(256, 0.06), (64, 0.24), (1024, 0.015)])
def test_the_warm_up_of_seed_starts_at_the_rate_that_was_named_before_the_programs_scaling(batch, program):
    """The program's `--lr` is the rate for 256 images; ours, 0.06, is the rate of the batch that it leads to."""
    (recipe,) = parse(recipe_named("seed_resnet18"), argv=["--lr", "0.06", "--batch-size", str(batch)], description="")
    lr = schedule(recipe, STEPS)
    rates = [program + (program * batch / 256 - program) * epoch / 5 for epoch in range(5)]
    np.testing.assert_allclose([lr(epoch * STEPS) for epoch in range(5)], rates, rtol=1e-12)


DINO = ["lr_small", "start_small", "warm1x1", "lr_vits_100ep_512", "lr_vits_300ep_1024"]


@pytest.mark.parametrize("name", DINO)
def test_the_rates_of_dino_equal_the_recorded_ones(name, golden):
    """Recorded: the rate `value` [n] at the steps `iter` [n]."""
    g = {k.removeprefix(f"{name}/"): v for k, v in golden("dino_schedules").items() if k.startswith(f"{name}/")}
    recipe = Recipe(
        schedule="warmcos-closed",
        lr=float(g["base_value"]),
        lr_end=float(g["final_value"]),
        epochs=int(g["epochs"]),
        warmup_epochs=int(g["warmup_epochs"]),
        warmup_lr=float(g.get("start_warmup_value", 0)),
    )
    lr = schedule(recipe, int(g["niter_per_ep"]))
    assert [lr(step) for step in g["iter"].tolist()] == pytest.approx(g["value"].tolist(), rel=1e-12, abs=0)
