"""BYOL equals the numbers recorded from the original program, on one rank and on two."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from viewstream.pipeline.batch import Batch
from viewstream.trainers.methods import byol
from viewstream.trainers.methods.method import Now
from viewstream.trainers.nets.encoder import Encoder

from .steps import convnet


def units(seed, *shape):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def small():
    torch.manual_seed(0)
    return byol.BYOL(Encoder(convnet(), byol.projector(6, 8, 4)), byol.predictor(4, 8), momentum=0.9)


def some(seed=0):
    x = torch.rand(2, 8, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return Batch((x[0], x[1]), torch.zeros(8, dtype=torch.long), torch.arange(8))


@pytest.mark.parametrize("name", ["byol_loss_a", "byol_loss_b"])
def test_the_loss_equals_the_recorded_one(name, golden):
    """q1, q2, k1, k2 [N, D]: student of views 1 and 2, teacher of views 2 and 1."""
    g = golden(name)
    loss = byol.loss(*(g[k] for k in ("q1", "q2", "k1", "k2")))
    torch.testing.assert_close(loss.double(), g["loss"], rtol=0, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
def test_the_loss_is_the_mean_of_squared_distances(seed, rows, width):
    q1, q2, k1, k2 = units(seed, 4, rows, width)
    distances = (q1 - k1).square().sum(1) + (q2 - k2).square().sum(1)
    torch.testing.assert_close(byol.loss(q1, q2, k1, k2), distances.mean())


def test_the_momentum_goes_from_its_base_towards_one():
    values = [byol.momentum(step, 10, 0.99) for step in range(11)]
    assert values[0] == pytest.approx(0.99, abs=1e-15)
    assert values[10] == 1
    assert values == sorted(values)
    assert byol.momentum(5, 10, 0.99) == pytest.approx(0.995, abs=1e-12)


def test_the_spread_tells_a_collapse_from_rows_in_all_directions():
    assert byol.spread(units(0, 1, 4).expand(50, 4)).item() == pytest.approx(0, abs=1e-12)
    assert byol.spread(units(0, 5000, 4)).item() == pytest.approx(1, abs=0.01)


def test_the_teacher_sees_the_other_view_and_neither_it_nor_its_keys_take_gradients():
    method, batch = small(), some()
    loss, _ = method(batch, Now(0, 10, 0))
    loss.backward()
    assert all(p.grad is None for p in method.target.parameters())
    assert all(p.grad is not None for net in (method.online, method.predictor) for p in net.parameters())
    (x1, x2), again = batch.views, small()
    q1, q2 = (again.predictor(again.online(x)) for x in (x1, x2))
    k2, k1 = again.target(x1), again.target(x2)
    cosines = F.cosine_similarity(q1, k1) + F.cosine_similarity(q2, k2)
    torch.testing.assert_close(loss, 4 - 2 * cosines.mean())


def test_the_first_update_of_the_teacher_changes_nothing_and_later_ones_follow_the_student():
    method = small()
    first = [p.clone() for p in method.target.parameters()]
    method.before_step(Now(0, 10, 0))
    torch.testing.assert_close(first, list(method.target.parameters()), rtol=0, atol=1e-7)
    with torch.no_grad():
        for p in method.online.parameters():
            p += 1
    method.before_step(Now(5, 10, 0))
    for before, after in zip(first, method.target.parameters(), strict=True):
        torch.testing.assert_close(after - before, torch.full_like(after, 0.05), rtol=0, atol=1e-6)


def test_evaluations_get_the_teachers_backbone():
    method = small()
    assert method.backbone is method.target.backbone
    assert method.backbone is not method.online.backbone


def test_under_autocast_the_loss_is_fp32():
    method = small()
    with torch.autocast("cpu", torch.bfloat16):
        loss, stats = method(some(), Now(0, 10, 0))
    assert loss.dtype == stats["spread"].dtype == torch.float32
    exact, _ = small()(some(), Now(0, 10, 0))
    torch.testing.assert_close(loss, exact, rtol=0, atol=0.1)


@pytest.mark.full
@pytest.mark.parametrize("kind", ["byol", "sts", "m2t"])
def test_two_ranks_train_as_one_with_the_joined_batch(program, tmp_path, kind):
    script = Path(__file__).with_name("joined_steps.py")
    for ranks in (1, 2):
        done = program(script, kind, tmp_path, ranks=ranks)
        assert done.returncode == 0, done.stderr
    alone, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    torch.testing.assert_close((first["loss"] + second["loss"]) / 2, alone["loss"], rtol=0, atol=1e-9)
    assert alone["loss"][0] != alone["loss"][-1]
    for key, value in alone["state"].items():
        of_a_rank = kind == "m2t" and "target" not in key and ("running_" in key or "tracked" in key)
        if not of_a_rank:  # plain BatchNorm's, of the groups that this rank ran
            torch.testing.assert_close(first["state"][key], value, rtol=0, atol=1e-9)
            assert first["state"][key].equal(second["state"][key]), key
