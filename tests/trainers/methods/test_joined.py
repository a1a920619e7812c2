"""KCL and SEED in the training loop: two ranks train as one does on the joined batch, no step waits for a value."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from viewstream.pipeline.batch import Batch
from viewstream.trainers.methods.kcl import KCL
from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.seed import SEED
from viewstream.trainers.nets.encoder import Encoder
from viewstream.trainers.ranks import gather
from viewstream.trainers.training import optim

from .steps import convnet, distributed, share

N, STEPS = 16, 5


def net():
    return Encoder(convnet(8), nn.Linear(8, 8)).double()


def kcl(**options):
    return KCL(net(), batch=N, dim=8, queue=64, momentum=0.9, temperature=0.2, bn_groups=4, posk=3, **options)


def seed(**options):
    return SEED(net(), net(), dim=8, queue=64, teacher_temperature=0.05, bn_groups=4, **options)


# Name -> the method's constructor and the sides of its views.
CASES = {
    "kcl": (kcl, (8, 8)),
    "kcl-v2-first": (partial(kcl, losstype="v2", pick="first"), (8, 8)),
    "kcl-sump": (partial(kcl, sump=True, tgt_avg=True), (8, 8)),
    "seed": (seed, (8,)),
    "seed-patches": (partial(seed, patches=True), (8, 6, 6, 6)),
}


def batch(step, sizes):
    """This rank's share of the global batch of a step."""
    rng, own = np.random.default_rng(100 + step), share(N)
    views = [torch.from_numpy(rng.normal(rng.normal(size=(N, 3, 1, 1)), 1, (N, 3, s, s)))[own] for s in sizes]
    target = torch.from_numpy(rng.integers(0, 3, N))[own]
    return Batch(tuple(views), target, target)


def five_steps(name):
    """The losses and stats of each step, averaged over the ranks, and the state after the last step."""
    make, sizes = CASES[name]
    torch.manual_seed(0)
    method = make().double().train()
    module, optimizer, losses = distributed(method), optim.sgd(method, 0.2, 0.9, 1e-4), []
    for number in range(method.prefill):
        method.fill(batch(-number, sizes), Now(number - 4, STEPS, 7))
    for step in range(STEPS):
        now = Now(step, STEPS, 7)
        method.before_step(now)
        loss, stats = module(batch(step + 1, sizes), now)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after_step(now)
        losses.append(gather(torch.stack([loss.detach(), *(s.double() for s in stats.values())])[None]).mean(0))
    state = {k: v for k, v in method.state_dict().items() if "running_" not in k and "tracked" not in k}
    return {"losses": torch.stack(losses), **state}


def all_cases():
    return {name: five_steps(name) for name in CASES}


@pytest.mark.full
def test_two_ranks_of_kcl_and_seed_equal_one_with_the_joined_batch(on_ranks):
    one, (two, _) = all_cases(), on_ranks(all_cases, 2)
    for name in CASES:
        torch.testing.assert_close(two[name], one[name], rtol=0, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}")


class NoWaiting(TorchDispatchMode):
    """Refuses operations that, on a GPU, wait until a value or a length has come back."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        masked = name in ("index", "index_put", "index_put_") and any(
            x is not None and x.dtype == torch.bool for x in args[1]
        )
        assert not masked, f"{name} by a mask"
        assert name not in ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique_dim", "_unique2"), name
        return function(*args, **(kwargs or {}))


def methods():
    """(method, number of its views)."""

    def net():
        return Encoder(nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.BatchNorm1d(6)), nn.Linear(6, 4))

    for options in ({}, {"pick": "first", "losstype": "v2"}, {"sump": True, "tgt_avg": True}, {"posk": 0}):
        yield KCL(net(), batch=8, dim=4, queue=16, bn_groups=2, **options), 2
    for patches in (False, True):
        yield SEED(net(), net(), dim=4, queue=16, bn_groups=2, patches=patches), 1 + 3 * patches


def test_no_step_waits_for_a_value():
    target = torch.arange(8) % 3
    for method, views in methods():
        batch = Batch((torch.randn(8, 3, 2, 2),) * views, target, target)
        with NoWaiting():
            for number in range(method.prefill):
                method.fill(batch, Now(number - 2, 2, 0))
            for step in range(2):
                method.before_step(now := Now(step, 2, 0))
                loss, _ = method(batch, now)
                loss.backward()
                method.after_step(now)


def test_the_guard_against_waiting_sees_what_waits():
    for wait in (lambda x: x[0].item(), lambda x: x[x > 0], lambda x: bool(x.sum() > 0)):
        with pytest.raises(AssertionError), NoWaiting():
            wait(torch.ones(3))
