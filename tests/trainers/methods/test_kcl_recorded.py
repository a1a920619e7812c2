"""KCL's steps equal those recorded from the original program, on one rank and on two."""

import pytest
import torch
from torch import nn

from viewstream.pipeline.batch import Batch
from viewstream.trainers.methods.kcl import KCL
from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.parts import Queue
from viewstream.trainers.methods.positives import picked, soft_targets
from viewstream.trainers.nets.encoder import Encoder
from viewstream.trainers.ranks import rank

from .steps import NOW, exact, queue_of


def kcl_of(g, body=None, **options):
    """KCL in the state that a recording starts from; its encoders are `body`, or pass their input on."""
    options = {"bn_groups": 1, "temperature": float(g.get("temperature", 0.07)), **options}
    dim, slots = g["queue"].shape
    kcl = KCL(Encoder(body or nn.Identity(), nn.Identity()), batch=1, dim=dim, queue=slots, **options)
    kcl.queue, kcl.label_queue = queue_of(g["queue"], g.get("ptr", 0)), Queue(g["label_queue"].clone())
    kcl.label_queue.head.copy_(kcl.queue.head)
    return kcl


@pytest.mark.parametrize("pick", ["random", "first"])
@pytest.mark.parametrize("name", ["s0_fewer_than_k", "s1_nolabels_empty_queue", "s4_posk_none", "s7_v2_fewer_than_k"])
@pytest.mark.parametrize("loss", ["", "sump", "tgt_avg"])
def test_steps_without_a_choice_equal_the_recorded_ones(name, pick, loss, golden):
    g = golden(f"kcl_{name}")
    sump = {"sump": bool(loss), "tgt_avg": loss == "tgt_avg"}
    kcl = kcl_of(g, posk=max(int(g["posk"]), 0), pick=pick, losstype=g["losstype"], **sump)
    raw = g["q_raw"][0].double().requires_grad_()
    ours, stats = kcl(Batch((raw, g["k_raw"][0].double()), g["labels"][0], g["labels"][0]), NOW)
    ours.backward()
    kcl.after_step(NOW)
    recorded = {
        "": g["loss"][0],
        "sump": g["sump_per_sample"][0].sum(),
        "tgt_avg": g["sump_tgtavg_per_sample"][0].sum(),
    }
    exact(ours, recorded[loss])
    if not loss:
        exact(raw.grad, g["grad_q_raw"][0])
    exact(stats["positives"], g["pos_selected"][0].sum(dim=1).double().mean())
    exact(kcl.queue.rows.T, g["queue_after"][0])
    assert kcl.label_queue.rows.equal(g["label_queue_after"][0])


def test_the_release_chooses_the_first_slots(golden):
    g = golden("kcl_s6_large")
    kcl = kcl_of(g, posk=6, pick="first")
    for s, target in enumerate(g["labels"]):
        same = target[:, None] == kcl.label_queue.rows
        assert picked(same, kcl.order(len(target), NOW), 6).equal(g["pos_selected"][s])
        loss, _ = kcl(Batch((g["q_raw"][s], g["k_raw"][s]), target, target), NOW)
        kcl.after_step(NOW)
        exact(loss, g["loss"][s])


def test_filling_the_queue_moves_no_weight(golden):
    """x [view, N, 12]; encoders Linear(12, 8); a fill, then a step with momentum 0.5."""
    g = golden("kcl_s8_warmup_update_key_false")
    g["label_queue"] = torch.full((12,), -1)
    kcl = kcl_of(g, nn.Linear(12, 8).double(), momentum=float(g["momentum_m"]))
    for net, name in ((kcl.online, "q"), (kcl.target, "k_init")):
        net.backbone.load_state_dict({k: g[f"{name}.fc.{k}"] for k in ("weight", "bias")})
    batch = Batch((g["x"][0].double(), g["x"][1].double()), g["labels"], g["labels"])
    kcl.fill(batch, Now(-1, 1, 0))
    exact(kcl.target.backbone.weight, g["k_after_noupdate.fc.weight"])
    exact(kcl.queue.rows.T, g["queue_after"])
    assert kcl.label_queue.rows.equal(g["label_queue_after"])
    assert int(kcl.label_queue.head) == int(kcl.queue.head) == int(g["ptr_after"])
    kcl.before_step(Now(0, 1, 0))
    kcl(batch, Now(0, 1, 0))
    kcl.after_step(Now(0, 1, 0))
    for k in ("weight", "bias"):
        exact(kcl.target.backbone.get_parameter(k), g[f"k_after_update.fc.{k}"])
    exact(kcl.queue.rows.T, g["queue_after_second"])


def test_a_joined_batch_equals_the_two_recorded_ranks(golden):
    """x [rank, view, N, D]."""
    g = golden("kcl_world2_gather")
    kcl, target = kcl_of(g, posk=6), g["labels"].flatten()
    x1, x2 = g["x"].double().transpose(0, 1).flatten(1, 2)
    loss, _ = kcl(Batch((x1, x2), target, target), NOW)
    kcl.after_step(NOW)
    exact(loss, g["loss"].mean())
    exact(kcl.queue.rows.T, g["queue_after"])
    assert kcl.label_queue.rows.equal(g["label_queue_after"])
    assert int(kcl.label_queue.head) == int(g["ptr_after"])


def recorded_step(g):
    """This rank's share of the recorded step: logits, targets, loss, queue, queue of labels and its next slot."""
    kcl, target = kcl_of(g, bn_groups=2, posk=int(g["posk"])), g["labels"][rank()]
    batch = Batch(tuple(g["x"][rank()].double()), target, target)
    chosen = picked(target[:, None] == kcl.label_queue.rows, kcl.order(len(target), NOW), kcl.posk)
    scores = kcl.scores(*kcl.embed(batch, NOW))
    loss, _ = kcl(batch, NOW)
    kcl.after_step(NOW)
    return scores, soft_targets(chosen), loss, kcl.queue.rows, kcl.label_queue.rows, int(kcl.label_queue.head)


@pytest.mark.full
def test_two_ranks_gather_keys_and_labels_as_recorded(on_ranks, golden):
    g = golden("kcl_world2_gather")
    for number, (scores, targets, loss, rows, labels, head) in enumerate(on_ranks(recorded_step, 2, g)):
        exact(scores, g["logits"][number])
        exact(targets, g["soft_labels"][number])
        exact(loss, g["loss"][number])
        exact(rows.T, g["queue_after"])
        exact(labels, g["label_queue_after"])
        assert head == int(g["ptr_after"])
