"""What KCL and SEED owe the loop: two ranks train as one does on the joined batch, and no step waits for a value."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from viewstream.pipeline.batch import Batch
from viewstream.trainers.methods.kcl import KCL
from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.seed import SEED
from viewstream.trainers.nets.encoder import Encoder


@pytest.mark.full
def test_two_ranks_of_kcl_and_seed_equal_one_with_the_joined_batch(program, tmp_path):
    for ranks in (1, 2):
        done = program(Path(__file__).with_name("joined.py"), tmp_path, ranks=ranks)
        assert done.returncode == 0, done.stderr
    names = sorted(path.name.removesuffix("-1.pt") for path in tmp_path.glob("*-1.pt"))
    assert len(names) == 5
    for name in names:
        one, two = (torch.load(tmp_path / f"{name}-{ranks}.pt") for ranks in (1, 2))
        assert one.keys() == two.keys()
        for key, value in one.items():
            torch.testing.assert_close(two[key], value, rtol=0, atol=1e-9, msg=lambda m, at=(name, key): f"{at}: {m}")


class NoWaiting(TorchDispatchMode):
    """Refuses what, on a GPU, cannot go on before a value or a length has come back."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        masked = name in ("index", "index_put", "index_put_") and any(
            x is not None and x.dtype == torch.bool for x in args[1]
        )
        assert not masked, f"{name} by a mask"
        assert name not in ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique_dim", "_unique2"), name
        return function(*args, **(kwargs or {}))


def methods():
    def net():
        return Encoder(nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.BatchNorm1d(6)), nn.Linear(6, 4))

    for how in ({}, {"pick": "first", "losstype": "v2"}, {"sump": True, "tgt_avg": True}, {"posk": 0}):
        yield KCL(net(), batch=8, dim=4, queue=16, bn_groups=2, **how), 2
    for patches in (False, True):
        yield SEED(net(), net(), dim=4, queue=16, bn_groups=2, patches=patches), 1 + 3 * patches


def test_no_step_waits_for_a_value():
    target = torch.arange(8) % 3
    for method, views in methods():
        batch = Batch((torch.randn(8, 3, 2, 2),) * views, target, target)
        with NoWaiting():
            for number in range(getattr(method, "prefill", 0)):
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
