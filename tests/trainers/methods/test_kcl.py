"""KCL without labels takes the steps of MoCo, and fills its queue with labels first."""

import numpy as np
import pytest
import torch
from torch import nn

from viewstream.pipeline.batch import Batch
from viewstream.shards.errors import UserError
from viewstream.trainers.methods.kcl import KCL
from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.moco import MoCo
from viewstream.trainers.methods.positives import picked
from viewstream.trainers.nets.encoder import Encoder
from viewstream.trainers.training import optim

from .steps import NOW, convnet


def images(step, count=8):
    rng = np.random.default_rng(step + 9)
    x = torch.from_numpy(rng.normal(size=(2, count, 3, 8, 8)))
    return Batch(tuple(x), torch.from_numpy(rng.integers(0, 3, count)), torch.arange(count))


def small(kind, **options):
    """A method with a convolution, BatchNorm, a linear head, and a queue of 32."""
    torch.manual_seed(0)
    method = kind(Encoder(convnet(), nn.Linear(6, 4)), dim=4, queue=32, momentum=0.9, bn_groups=2, **options)
    return method.double().train()


def losses(method, steps):
    optimizer = optim.sgd(method, 0.05, 0.9, 1e-4)
    for step in range(steps):
        now = Now(step, steps, 0)
        method.before_step(now)
        loss, _ = method(images(step), now)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after_step(now)
        yield loss.detach()


@pytest.mark.parametrize("options", [{}, {"pick": "first"}, {"posk": 0}, {"losstype": "v2"}, {"sump": True}])
def test_without_labels_in_the_queue_a_step_is_one_of_moco(options):
    kcl, moco = small(KCL, batch=8, **options), small(MoCo)
    moco.load_state_dict({k: v for k, v in kcl.state_dict().items() if not k.startswith("label_queue.")})
    assert torch.allclose(next(losses(kcl, 1)), next(losses(moco, 1)), rtol=0, atol=1e-12)
    for a, b in zip(kcl.online.parameters(), moco.online.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_the_prefill_batches_fill_the_queue_with_labels():
    kcl = small(KCL, batch=8)
    before = [p.clone() for p in kcl.parameters()]
    assert kcl.prefill == 4
    for number in range(kcl.prefill):
        kcl.fill(images(-number - 1), Now(number - kcl.prefill, 1, 0))
    assert (kcl.label_queue.rows >= 0).all()
    assert all(p.equal(was) for p, was in zip(kcl.parameters(), before, strict=True))
    assert [int(net.backbone[1].num_batches_tracked) for net in (kcl.online, kcl.target)] == [4, 4]
    _, stats = kcl(images(0), NOW)
    assert stats["filled"] == 1
    assert 0 < stats["positives"] <= 6


def test_similarities_stay_fp32_under_autocast():
    kcl = small(KCL, batch=8, posk=2).float()
    batch = images(0)._replace(views=tuple(x.float() for x in images(0).views))
    with torch.autocast("cpu", torch.bfloat16):
        q, k = kcl.embed(batch, NOW)
        kcl.fill(batch, NOW)
        loss, _ = kcl(batch, NOW)
    assert q.dtype == torch.bfloat16
    same = batch.target[:, None] == kcl.label_queue.rows
    expected = kcl.loss(kcl.scores(q, k), picked(same, kcl.order(8, NOW), 2))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=0, atol=0)


def test_an_unknown_choice_or_loss_is_refused_by_name():
    with pytest.raises(UserError, match="did you mean 'random'"):
        small(KCL, batch=8, pick="rand")
    with pytest.raises(UserError, match="unknown losstype"):
        small(KCL, batch=8, losstype="v3")
