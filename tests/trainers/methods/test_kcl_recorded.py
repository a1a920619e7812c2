"""KCL's steps equal those recorded from the original program, on one rank and on two."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from viewstream.pipeline.batch import Batch
from viewstream.trainers.methods.kcl import KCL
from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.parts import Queue
from viewstream.trainers.methods.positives import picked
from viewstream.trainers.nets.encoder import Encoder

from .steps import NOW, exact, queue_of


def kcl_of(g, body=None, **how):
    """KCL in the state that a recording begins with; the encoders pass features on, unless `body` is given."""
    dim, slots = g["queue"].shape
    encoder = Encoder(body or nn.Identity(), nn.Identity())
    kcl = KCL(encoder, batch=1, dim=dim, queue=slots, temperature=float(g.get("temperature", 0.07)), bn_groups=1, **how)
    kcl.queue, kcl.label_queue = queue_of(g["queue"], g.get("ptr", 0)), Queue(g["label_queue"].clone())
    kcl.label_queue.head.copy_(kcl.queue.head)
    return kcl


@pytest.mark.parametrize("pick", ["random", "first"])
@pytest.mark.parametrize("name", ["s0_fewer_than_k", "s1_nolabels_empty_queue", "s4_posk_none", "s7_v2_fewer_than_k"])
@pytest.mark.parametrize("loss", ["", "sump", "tgt_avg"])
def test_the_method_repeats_recorded_steps_in_which_there_is_no_choice(name, pick, loss, golden):
    g = golden(f"kcl_{name}")
    kcl = kcl_of(g, posk=max(int(g["posk"]), 0), pick=pick, losstype=g["losstype"], sump=bool(loss),
                 tgt_avg=loss == "tgt_avg")  # fmt: skip
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


def test_taking_the_first_slots_is_the_choice_of_the_release(golden):
    g = golden("kcl_s6_large")
    kcl = kcl_of(g, posk=6, pick="first")
    for s, target in enumerate(g["labels"]):
        same = target[:, None] == kcl.label_queue.rows
        assert picked(same, kcl.order(len(target), NOW), 6).equal(g["pos_selected"][s])
        loss, _ = kcl(Batch((g["q_raw"][s], g["k_raw"][s]), target, target), NOW)
        kcl.after_step(NOW)
        exact(loss, g["loss"][s])


def test_filling_the_queue_first_moves_no_weight(golden):
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


@pytest.mark.full
def test_two_ranks_gather_keys_and_labels_as_recorded(program, tmp_path):
    recording = Path(__file__).parents[2] / "golden/kcl_world2_gather.npz"
    done = program(Path(__file__).with_name("kcl_two_ranks.py"), recording, tmp_path, ranks=2)
    assert done.returncode == 0, done.stderr
    gaps = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    for gap in gaps:
        assert max(gap.values()) < 1e-6, gaps
