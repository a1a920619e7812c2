"""SwAV gives the numbers recorded from the release, with and without queue, and refuses what does not fit."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from viewstream.augment.recipes import views_of
from viewstream.shards.errors import UserError
from viewstream.trainers.methods.build import check
from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.sinkhorn import Assigner, sinkhorn
from viewstream.trainers.methods.swav import loss
from viewstream.trainers.recipes.options import SwAV as Options

from .recorded_swav import Passed, as_recorded, near
from .steps import batch_of


@pytest.mark.parametrize("case", range(6))
def test_assignments_equal_the_recorded_ones(case, golden):
    g = {k.partition("/")[2]: v for k, v in golden("swav_sinkhorn_w1").items() if k.startswith(f"c{case}/")}
    near(sinkhorn(g["scores"].double(), float(g["epsilon"]), int(g["iterations"])), g["q"], 1e-12)
    near(sinkhorn(g["scores"], float(g["epsilon"]), int(g["iterations"])), g["q_f32"], 1e-5)
    both = torch.stack([g["scores"].double(), g["scores"].double().flip(0)])  # two crops at once
    near(sinkhorn(both, float(g["epsilon"]), int(g["iterations"]))[1], g["q"].flip(0), 1e-12)


class Rows(nn.Module):
    """An encoder whose crops are rows already."""

    def forward(self, views):
        return torch.cat(views)


@pytest.mark.parametrize("name", ["loss_2x6", "loss_2x0", "queue_a", "queue_b"])
def test_loss_gradients_assignments_and_queue_equal_the_recorded_ones(name, golden):
    g = golden(f"swav_{name}")
    steps, count = len(g["loss"]), g["z_raw"].shape[2]
    prototypes = nn.Linear(g["z_raw"].shape[-1], len(g["prototypes_raw"]), bias=False).double()
    more = {"epsilon": float(g["epsilon"]), "iterations": int(g["sinkhorn_iterations"])}
    assigner = Assigner(prototypes.in_features, rows=int(g["queue_length"]), batch=count, **more).double()
    freeze, temperature = int(g["freeze_prototypes_niters"]), float(g["temperature"])
    method = Passed(Rows(), prototypes, assigner, temperature=temperature, freeze=freeze)
    for step in range(steps):
        raw = g["prototypes_raw_step"][step] if "prototypes_raw_step" in g else g["prototypes_raw"]
        prototypes.weight.data.copy_(raw)
        z, now = g["z_raw"][step].double().requires_grad_(), Now(step, steps, 0)
        method.before_step(now)
        value, _ = method(batch_of(*z), now)
        value.backward()
        near(value.detach(), g["loss"][step])
        near(method.q, g["q"][step])
        near(z.grad, g["grad_z_raw"][step])
        method.before_update(None)
        assert (prototypes.weight.grad is None) == g["proto_grad_none"][step]
        if prototypes.weight.grad is not None:
            near(prototypes.weight.grad, g["grad_prototypes"][step])
        prototypes.weight.grad = None
        method.after_step(now)
        if "queue_after" in g:
            near(as_recorded(assigner.queue, count), g["queue_after"][step])


def test_one_assigned_crop_gives_the_recorded_loss(golden):
    g = golden("swav_loss_assign1")
    z = F.normalize(g["z_raw"][0].double().requires_grad_(), dim=-1)
    scores = z @ F.normalize(g["prototypes_raw"].double(), dim=1).T
    q = sinkhorn(scores[1:2].detach(), float(g["epsilon"]), int(g["sinkhorn_iterations"]))
    near(q, g["q"][0])
    near(loss(scores, q, [1], float(g["temperature"])).detach(), g["loss"][0])


def test_the_queue_fills_from_its_epoch_on_and_takes_part_once_it_is_full():
    """A function of the step, so that a resume and more epochs change nothing."""
    for epochs in (4, 9):
        assigner = Assigner(3, rows=8, batch=4, first_epoch=2, epochs=epochs)
        seen = []
        for step in range(20):
            assigner.begin(Now(step, 5 * epochs, 0))
            seen.append((assigner.queues, assigner.full))
        assert seen == [(False, False)] * 10 + [(True, False)] * 2 + [(True, True)] * 8


RECIPE = Options(views="swav", batch_size=16, prototypes=30)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"prototypes": 1}, "--prototypes 1 cannot share the images of 1 rank among them: take 2 or more"),
        (
            {"queue": 40},
            "a queue of 40 rows cannot be filled by global batches of 16: make --batch-size divide --queue",
        ),
        ({"accumulate": 2}, "swav does not take --accumulate 2: it assigns the images of a whole batch"),
        ({"views": "seed_patches"}, r"swav takes two views of one size, and smaller ones of one size if any, as of"),
        ({"views": "seed"}, "swav takes two views of one size"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_built(options, reason, built):
    recipe = replace(RECIPE, **options)
    with pytest.raises(UserError, match=reason):
        check(recipe, views_of(recipe.views), built)


@pytest.mark.parametrize("views", ["swav", "swav_large", "moco_v2", "byol"])
def test_two_large_views_fit_with_and_without_small_ones(views, built):
    check(replace(RECIPE, views=views), views_of(views), built)
