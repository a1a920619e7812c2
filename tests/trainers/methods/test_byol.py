"""BYOL equals the numbers recorded from the original program, on one rank and on two."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from viewstream.trainers.methods import byol
from viewstream.trainers.methods.m2t import M2T
from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.sts import STS
from viewstream.trainers.nets.encoder import Encoder
from viewstream.trainers.nets.heads import mlp_with_norm
from viewstream.trainers.training import optim

from .steps import batch_of, convnet, distributed, share


def unit_rows(seed, *shape):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def small():
    torch.manual_seed(0)
    return byol.BYOL(Encoder(convnet(), mlp_with_norm(6, 8, 4)), byol.predictor(4, 8), momentum=0.9)


def batch():
    return batch_of(*torch.rand(2, 8, 3, 6, 6, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("name", ["byol_loss_a", "byol_loss_b"])
def test_the_loss_equals_the_recorded_one(name, golden):
    """q1, q2, k1, k2 [N, D]: the student's rows of views 1 and 2, the teacher's rows of views 2 and 1."""
    g = golden(name)
    loss = byol.loss(*(g[k] for k in ("q1", "q2", "k1", "k2")))
    torch.testing.assert_close(loss.double(), g["loss"], rtol=0, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
def test_the_loss_is_the_mean_of_squared_distances(seed, rows, width):
    q1, q2, k1, k2 = unit_rows(seed, 4, rows, width)
    distances = (q1 - k1).square().sum(1) + (q2 - k2).square().sum(1)
    torch.testing.assert_close(byol.loss(q1, q2, k1, k2), distances.mean())


def test_the_momentum_rises_from_its_base_to_one():
    values = [byol.momentum(step, 10, 0.99) for step in range(11)]
    assert values[0] == pytest.approx(0.99, abs=1e-15)
    assert values[10] == 1
    assert values == sorted(values)
    assert byol.momentum(5, 10, 0.99) == pytest.approx(0.995, abs=1e-12)


def test_the_spread_is_0_for_a_collapse_and_1_for_rows_in_all_directions():
    assert byol.spread(unit_rows(0, 1, 4).expand(50, 4)).item() == pytest.approx(0, abs=1e-12)
    assert byol.spread(unit_rows(0, 5000, 4)).item() == pytest.approx(1, abs=0.01)


def test_the_teacher_sees_the_other_view_and_takes_no_gradients():
    method, (x1, x2) = small(), batch().views
    loss, _ = method(batch(), Now(0, 10, 0))
    loss.backward()
    assert all(p.grad is None for p in method.target.parameters())
    assert all(p.grad is not None for net in (method.online, method.predictor) for p in net.parameters())
    again = small()
    q1, q2 = (again.predictor(again.online(x)) for x in (x1, x2))
    k2, k1 = again.target(x1), again.target(x2)
    cosines = F.cosine_similarity(q1, k1) + F.cosine_similarity(q2, k2)
    torch.testing.assert_close(loss, 4 - 2 * cosines.mean())


def test_the_teacher_stays_at_the_first_update_and_then_follows_the_student():
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
        loss, stats = method(batch(), Now(0, 10, 0))
    assert loss.dtype == stats["spread"].dtype == torch.float32
    exact, _ = small()(batch(), Now(0, 10, 0))
    torch.testing.assert_close(loss, exact, rtol=0, atol=0.1)


KINDS = {"byol": byol.BYOL, "sts": partial(STS, preserve=0.5), "m2t": partial(M2T, bn_groups=4)}


def five_steps(kind, count=16):
    """Five steps on this rank's share of generated batches of `count` images: losses [5] and the state after them."""
    torch.manual_seed(0)
    nets = Encoder(convnet(), mlp_with_norm(6, 8, 4)), byol.predictor(4, 8)
    method = KINDS[kind](*nets).double()
    net, generator = distributed(method), torch.Generator().manual_seed(1)
    optimizer, losses = optim.sgd(method, 0.05, 0.9, 1e-4), []
    for step in range(5):
        now = Now(step, 5, 0)
        views = torch.rand(2, count, 3, 6, 6, dtype=torch.float64, generator=generator)[:, share(count)]
        method.before_step(now)
        loss, _ = net(batch_of(*views), now)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after_step(now)
        losses.append(loss.detach())
    return torch.stack(losses), method.state_dict()


def five_steps_of_each():
    return {kind: five_steps(kind) for kind in KINDS}


@pytest.fixture(scope="module")
def halves(on_ranks):
    """What each of two ranks computes on its half of the batches, for each kind of method."""
    return on_ranks(five_steps_of_each, 2)


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_train_as_one_with_the_joined_batch(halves, kind):
    losses, state = five_steps(kind)
    (first_losses, first), (second_losses, second) = (half[kind] for half in halves)
    torch.testing.assert_close((first_losses + second_losses) / 2, losses, rtol=0, atol=1e-9)
    assert losses[0] != losses[-1]
    for key, value in state.items():
        torch.testing.assert_close(first[key], value, rtol=0, atol=1e-9)
        own = kind == "m2t" and "target" not in key and "running_" in key  # each rank's first group
        assert own or first[key].equal(second[key]), key
