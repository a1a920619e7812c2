"""Losses of several positives equal the recorded ones; the choice within a class is fair, and the same on all ranks."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from viewstream.augment.draw import hashed
from viewstream.shards.keyed import Purpose
from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.moco import logits
from viewstream.trainers.methods.parts import Queue
from viewstream.trainers.methods.positives import (
    lowest_first,
    picked,
    random_order,
    set_aside,
    slot_hashes,
    soft_targets,
    summed,
)

from .steps import NOW, exact, queue_of

CPU = torch.device("cpu")
STEPS = [
    "s0_fewer_than_k",
    "s1_nolabels_empty_queue",
    "s2_more_than_k_v1",
    "s3_more_than_k_v2",
    "s4_posk_none",
    "s7_v2_fewer_than_k",
    "s6_large",
]


@pytest.mark.parametrize("name", STEPS)
def test_scores_targets_losses_gradients_and_queues_equal_the_recorded_ones(name, golden):
    """q_raw, k_raw [S, N, D], labels [S, N], pos_selected [S, N, K]: S steps on one queue."""
    g = golden(f"kcl_{name}")
    queue, labels = queue_of(g["queue"], g["ptr"]), Queue(g["label_queue"].clone())
    labels.head.copy_(queue.head)
    for s, (target, chosen) in enumerate(zip(g["labels"], g["pos_selected"], strict=True)):
        raw = g["q_raw"][s].double().requires_grad_()
        k = F.normalize(g["k_raw"][s].double(), dim=1)
        scores = logits(F.normalize(raw, dim=1), k, queue.rows, float(g["temperature"]))
        if g["losstype"] == "v2":
            scores = set_aside(scores, (target[:, None] == labels.rows) & ~chosen)
        loss = F.cross_entropy(scores, soft_targets(chosen, scores.dtype))
        loss.backward()
        exact(scores, g["logits"][s])
        exact(soft_targets(chosen), g["soft_labels"][s])
        exact(loss, g["loss"][s])
        exact(raw.grad, g["grad_q_raw"][s])
        exact(summed(scores, chosen) / len(raw), g["sump_per_sample"][s])
        exact(summed(scores, chosen) / (chosen.sum() + len(raw)), g["sump_tgtavg_per_sample"][s])
        queue.push(k)
        labels.push(target)
        exact(queue.rows.T, g["queue_after"][s])
        assert labels.rows.equal(g["label_queue_after"][s])
        assert int(labels.head) == int(queue.head) == int(g["ptr_after"][s])


@given(seed=st.integers(0, 2**63), anchors=st.integers(1, 9), slots=st.integers(1, 40), k=st.integers(1, 45))
def test_k_positives_of_the_class_are_chosen_or_all_if_fewer(seed, anchors, slots, k):
    same = torch.from_numpy(np.random.default_rng(seed).random((anchors, slots)) < 0.4)
    for order in (random_order(0, anchors, slots, Now(0, 1, seed), CPU), lowest_first(slots, CPU)):
        chosen = picked(same, order, k)
        assert (same | ~chosen).all()
        assert chosen.sum(dim=1).equal(same.sum(dim=1).clamp(max=k))
    for row, lowest in zip(same, chosen, strict=True):
        assert row.nonzero()[:k].equal(lowest.nonzero())


@given(step=st.integers(-4, 10**9), seed=st.integers(0, 2**63), begin=st.integers(0, 500), slots=st.integers(1, 300))
def test_the_hash_of_slots_equals_one_in_numpy(step, seed, begin, slots):
    words = hashed(seed, step, Purpose.POSITIVES, np.arange(begin, begin + 5, dtype=np.uint64))[:, None]
    x = np.arange(slots, dtype=np.uint32) + words.astype(np.uint32)
    x = (x ^ x >> 16) * np.uint32(0x85EBCA6B) + (words >> np.uint64(32)).astype(np.uint32)
    x = (x ^ x >> 13) * np.uint32(0xC2B2AE35)
    expected = (x ^ x >> 16).view(np.int32)
    ours = random_order(begin, 5, slots, Now(step, 0, seed), CPU)
    assert torch.from_numpy(expected).equal(ours)
    assert len(ours[0].unique()) == slots


def test_an_anchor_chooses_the_same_on_every_rank():
    whole = random_order(0, 12, 50, NOW, CPU)
    assert torch.cat([random_order(begin, 4, 50, NOW, CPU) for begin in (0, 4, 8)]).equal(whole)
    assert not random_order(0, 12, 50, NOW._replace(step=4), CPU).equal(whole)
    assert not random_order(0, 12, 50, NOW._replace(seed=4), CPU).equal(whole)


def test_the_lowest_hash_is_above_the_slots_of_other_classes():
    words = torch.tensor([[0, 1510756450]], dtype=torch.int32)  # the finalizer, inverted at -2^31
    assert int(slot_hashes(words, 1)) == torch.iinfo(torch.int32).min + 1


def test_random_positives_are_uniform_and_anchors_choose_independently():
    """2560 rows choose 6 of 60 slots; the bounds are four standard deviations of sampling without replacement."""
    slots, k, rows = 60, 6, 2560
    same = torch.zeros(64, 512, dtype=torch.bool)
    members = torch.arange(7, 7 + 8 * slots, 8)
    same[:, members] = True
    steps = [picked(same, random_order(0, 64, 512, Now(step, 40, 0), CPU), k)[:, members] for step in range(40)]
    chosen = torch.stack(steps).double()  # [40, 64, slots]
    counts = chosen.sum(dim=(0, 1))
    share, spread = k / slots, (slots - 1) ** 0.5
    chi2 = ((counts - rows * share) ** 2).sum() / (rows * share * (1 - share)) * (slots - 1) / slots
    assert abs(chi2 - (slots - 1)) < 4 * 2**0.5 * spread
    mean, deviation = k * share, (k * share * (1 - share) * (slots - k) / (slots - 1)) ** 0.5
    for other in (chosen.roll(1, 1), chosen.roll(1, 0), chosen.roll((1, 1), (1, 2)), chosen.roll((1, 1), (0, 2))):
        assert abs((chosen * other).sum(dim=2).mean() - mean) < 4 * deviation / rows**0.5
