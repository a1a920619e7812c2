"""Spatial Ensemble's update equals the numbers recorded from the original program and keeps its laws."""

import pytest
import torch

from viewstream.trainers.methods import byol
from viewstream.trainers.methods.masks import GRANULARITIES, bernoulli_masks, mask_shapes
from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.parts import ema_, frozen_copy
from viewstream.trainers.methods.sts import STS, ensemble_
from viewstream.trainers.nets.encoder import Encoder
from viewstream.trainers.nets.heads import mlp_with_norm

from .steps import convnet


def small(seed=0):
    torch.manual_seed(seed)
    return Encoder(convnet(), mlp_with_norm(6, 8, 4))


def moved(method):
    """The method after a change of its student's weights."""
    with torch.no_grad():
        for p in method.online.parameters():
            p += 1
    return method


@pytest.mark.parametrize("name", ["sts_a_p07", "sts_c_p00_tma", "sts_d_p07_m0"])
def test_updates_with_the_recorded_coins_give_the_recorded_teachers(name, golden):
    """u [T]: uniforms, an update where u >= preserve. One update at the start with momentum 0, then three."""
    g = golden(name)
    names = g["names"]
    assert names == g["student_names"][: len(names)]
    teacher = [g[f"teacher_random_init/{n}"].clone() for n in names]

    def update(t, student, momentum, u, mask):
        assert (u >= float(g["preserving_prob"])).equal(mask)
        ensemble_(teacher, [g[f"{student}/{n}"] for n in names], momentum, list(mask))
        for n, w in zip(names, teacher, strict=True):
            torch.testing.assert_close(w, g[f"teacher{t}/{n}"], rtol=0, atol=1e-6)

    update(0, "student0", 0.0, g["u_init"], g["update_mask_init"])
    for t in range(3):
        m = byol.momentum(t, int(g["total_iters"]), float(g["base_momentum"]))
        assert m == pytest.approx(float(g["momentum"][t]), abs=1e-12)
        update(t + 1, f"student{t + 1}", m, g["u"][t], g["update_mask"][t])


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_preserve_zero_is_byol_exactly_and_one_leaves_the_teacher_alone(granularity):
    options = {"momentum": 0.9, "granularity": granularity}
    all_, none = (moved(STS(small(), byol.predictor(4, 8), preserve=p, **options)) for p in (0.0, 1.0))
    plain = moved(byol.BYOL(small(), byol.predictor(4, 8), momentum=0.9))
    before = [p.clone() for p in none.target.parameters()]
    for method in (all_, none, plain):
        method.before_step(Now(3, 10, 0))
    assert all(a.equal(b) for a, b in zip(all_.target.parameters(), plain.target.parameters(), strict=True))
    assert all(a.equal(b) for a, b in zip(none.target.parameters(), before, strict=True))
    assert not before[0].equal(next(plain.target.parameters()))


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_a_piece_follows_with_the_momentum_or_stays(granularity):
    method = moved(STS(small(), byol.predictor(4, 8), momentum=0.9, preserve=0.5, granularity=granularity))
    before = [p.clone() for p in method.target.parameters()]
    masks = bernoulli_masks(*mask_shapes(method.target, granularity), 0.5, seed=8, step=4)
    method.before_step(Now(4, 10, 8))
    followed = frozen_copy(method.online)
    for p, old in zip(followed.parameters(), before, strict=True):
        p.copy_(old)
    ema_(followed, method.online, byol.momentum(4, 10, 0.9))
    for p, new, old, mask in zip(method.target.parameters(), followed.parameters(), before, masks, strict=True):
        assert p.equal(torch.where(mask, new, old))
    assert len({bool(m) for mask in masks for m in mask.flatten()}) == 2


def test_a_resumed_update_needs_nothing_but_the_weights():
    first = moved(STS(small(), byol.predictor(4, 8), preserve=0.5))
    for step in range(3):
        first.before_step(Now(step, 10, 5))
    second = STS(small(1), byol.predictor(4, 8), preserve=0.5)
    second.load_state_dict(first.state_dict())
    for step in range(3, 6):
        first.before_step(Now(step, 10, 5))
        second.before_step(Now(step, 10, 5))
    assert all(a.equal(b) for a, b in zip(first.target.parameters(), second.target.parameters(), strict=True))


def test_a_first_copy_by_coins_replaces_some_tensors_and_keeps_the_others():
    student, own = small(0), small(1)
    theirs, fresh = ([p.clone() for p in net.parameters()] for net in (student, own))
    method = STS(student, byol.predictor(4, 8), preserve=0.5, target=own, seed=3)
    differ = [not a.equal(b) for a, b in zip(theirs, fresh, strict=True)]  # those of BatchNorm start equal
    taken = [p.equal(a) for p, a in zip(method.target.parameters(), theirs, strict=True)]
    kept = [p.equal(b) for p, b in zip(method.target.parameters(), fresh, strict=True)]
    assert all(t or k for t, k in zip(taken, kept, strict=True))
    assert {t for t, d in zip(taken, differ, strict=True) if d} == {True, False}
    again = STS(small(0), byol.predictor(4, 8), preserve=0.5, target=small(1), seed=3)
    assert all(a.equal(b) for a, b in zip(method.target.parameters(), again.target.parameters(), strict=True))
    assert not any(p.requires_grad for p in method.target.parameters())


def test_without_weights_of_its_own_the_teacher_starts_as_the_student():
    method = STS(small(), byol.predictor(4, 8))
    assert all(a.equal(b) for a, b in zip(method.target.parameters(), method.online.parameters(), strict=True))


def test_running_statistics_are_never_copied():
    method = STS(small(), byol.predictor(4, 8), preserve=0.0)
    method.online.backbone[1].running_mean += 5
    method.before_step(Now(3, 10, 0))
    assert method.target.backbone[1].running_mean.equal(torch.zeros(6))
