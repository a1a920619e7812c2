"""SEED: the student learns, the teacher stays, the patches of an image are neighbors."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.moco import logits
from viewstream.trainers.methods.seed import SEED, by_image, targets
from viewstream.trainers.nets.encoder import Encoder
from viewstream.trainers.training import optim

from .steps import NOW, batch_of, convnet


def test_patches_of_an_image_are_neighbors_and_stay_channels_last():
    views = [torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last) for _ in range(3)]
    rows = by_image(views)
    assert rows.is_contiguous(memory_format=torch.channels_last)
    for n in range(4):
        for p in range(3):
            assert rows[n * 3 + p].equal(views[p][n])


def net(seed, width=6):
    torch.manual_seed(seed)
    return Encoder(convnet(width), nn.Linear(width, 4))


def views_of(step, *sizes):
    """Random images, each with its own mean: like photographs, no two of them are alike."""
    rng = np.random.default_rng(step)
    x = [rng.normal(rng.normal(size=(8, 3, 1, 1)), 1, size=(8, 3, s, s)) for s in sizes]
    return [torch.from_numpy(v).float() for v in x]


def test_the_student_learns_and_the_teacher_stays():
    seed = SEED(net(0), net(1, 9), dim=4, queue=16, bn_groups=2, patches=True).train()
    before = {k: v.clone() for k, v in seed.state_dict().items()}
    optimizer = optim.sgd(seed, 0.1, 0.9, 0.0)
    batch, losses = batch_of(*views_of(0, 8, 6, 6)), []
    for step in range(12):
        loss, _ = seed(batch, Now(step, 12, 0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    for k, value in seed.state_dict().items():
        assert value.equal(before[k]) == (not k.startswith("online.")), k


def test_the_teacher_keeps_its_statistics_in_train_mode():
    seed = SEED(net(0), net(1), dim=4, queue=16, bn_groups=2)
    seed.train()
    assert seed.online.training
    assert not seed.teacher.training
    seed(batch_of(*views_of(0, 8)), NOW)
    assert int(seed.teacher.backbone[1].num_batches_tracked) == 0
    assert int(seed.online.backbone[1].num_batches_tracked) == 1


def test_a_checkpoint_holds_student_teacher_and_queues():
    names = SEED(net(0), net(1), dim=4, queue=16, patches=True).state_dict().keys()
    assert {k.split(".")[0] for k in names} == {"online", "teacher", "queue", "small_queue"}
    assert "online.backbone.0.weight" in names


def test_more_than_one_view_needs_the_option_patches():
    seed = SEED(net(0), net(1), dim=4, queue=16, bn_groups=1).train()
    with pytest.raises(AssertionError):
        seed(batch_of(*views_of(0, 8, 6)), NOW)


def test_similarities_and_targets_stay_fp32_under_autocast():
    seed = SEED(net(0), net(1), dim=4, queue=16, bn_groups=1).train()
    (x,) = views_of(0, 8)
    rows = seed.queue.rows
    with torch.autocast("cpu", torch.bfloat16):
        loss, scores, _, t = seed.compare(x, rows)
        raw = seed.online(x), seed.teacher(x)
    assert {r.dtype for r in raw} == {torch.bfloat16}
    s, expected = (F.normalize(r.float(), dim=1) for r in raw)
    torch.testing.assert_close(t, expected, rtol=0, atol=0)
    torch.testing.assert_close(scores, logits(s, t, rows, 0.2), rtol=0, atol=0)
    torch.testing.assert_close(loss, F.cross_entropy(scores, targets(t, rows, 1e-4)), rtol=0, atol=0)
    assert loss.dtype == torch.float32
