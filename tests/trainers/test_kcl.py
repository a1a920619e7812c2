"""KCL's steps equal those recorded from the original program, and MoCo's where there is no label."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from viewstream.pipeline.batch import Batch
from viewstream.shards.errors import UserError
from viewstream.trainers import optim
from viewstream.trainers.kcl import KCL
from viewstream.trainers.method import Now
from viewstream.trainers.moco import MoCo
from viewstream.trainers.nets import Encoder
from viewstream.trainers.parts import Queue
from viewstream.trainers.positives import (
    picked,
)  # fmt: skip

GOLDEN = Path(__file__).parents[1] / "golden"
HERE = torch.device("cpu")
NOW = Now(3, 10, 5)


@pytest.fixture
def golden(request):
    """(name) -> a recording's arrays; the large ones lie with the real input."""

    def read(name):
        here = GOLDEN / f"kcl_{name}.npz"
        path = here if here.exists() else request.getfixturevalue("shared") / "golden" / here.name
        with np.load(path) as file:
            return {k: file[k].item() if file[k].dtype.kind == "U" else torch.from_numpy(file[k]) for k in file}

    return read


def exact(ours, recorded):
    torch.testing.assert_close(ours.double(), recorded.double(), rtol=0, atol=1e-6)


def kcl_of(g, body=None, **how):
    """KCL in the state that a recording begins with; the encoders pass features on, unless `body` is given."""
    dim, slots = g["queue"].shape
    encoder = Encoder(body or nn.Identity(), nn.Identity())
    kcl = KCL(encoder, batch=1, dim=dim, queue=slots, temperature=float(g.get("temperature", 0.07)), bn_groups=1, **how)
    kcl.queue = Queue(g["queue"].T.double().contiguous())
    kcl.label_queue = Queue(g["label_queue"].clone())
    for queue in (kcl.queue, kcl.label_queue):
        queue.head.fill_(int(g.get("ptr", 0)))
    return kcl


@pytest.mark.parametrize("pick", ["random", "first"])
@pytest.mark.parametrize("name", ["s0_fewer_than_k", "s1_nolabels_empty_queue", "s4_posk_none", "s7_v2_fewer_than_k"])
@pytest.mark.parametrize("loss", ["", "sump", "tgt_avg"])
def test_the_method_repeats_recorded_steps_in_which_there_is_no_choice(name, pick, loss, golden):
    g = golden(name)
    kcl = kcl_of(g, posk=max(int(g["posk"]), 0), pick=pick, losstype=g["losstype"], sump=bool(loss),
                 tgt_avg=loss == "tgt_avg")  # fmt: skip
    raw = g["q_raw"][0].double().requires_grad_()
    ours, stats = kcl(Batch((raw, g["k_raw"][0].double()), g["labels"][0], g["labels"][0]), NOW)
    ours.backward()
    kcl.end(NOW)
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
    g = golden("s6_large")
    kcl = kcl_of(g, posk=6, pick="first")
    for s, target in enumerate(g["labels"]):
        same = target[:, None] == kcl.label_queue.rows
        assert picked(same, kcl.order(len(target), NOW), 6).equal(g["pos_selected"][s])
        loss, _ = kcl(Batch((g["q_raw"][s], g["k_raw"][s]), target, target), NOW)
        kcl.end(NOW)
        exact(loss, g["loss"][s])


def test_filling_the_queue_first_moves_no_weight():
    """x [view, N, 12]; encoders Linear(12, 8); a fill, then a step with momentum 0.5."""
    with np.load(GOLDEN / "kcl_s8_warmup_update_key_false.npz") as file:
        g = {k: torch.from_numpy(file[k]) for k in file}
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
    kcl.begin(Now(0, 1, 0))
    kcl(batch, Now(0, 1, 0))
    kcl.end(Now(0, 1, 0))
    for k in ("weight", "bias"):
        exact(kcl.target.backbone.get_parameter(k), g[f"k_after_update.fc.{k}"])
    exact(kcl.queue.rows.T, g["queue_after_second"])


def test_a_joined_batch_equals_the_two_recorded_ranks(golden):
    """x [rank, view, N, D]."""
    g = golden("world2_gather")
    kcl, target = kcl_of(g, posk=6), g["labels"].flatten()
    x1, x2 = g["x"].double().transpose(0, 1).flatten(1, 2)
    loss, _ = kcl(Batch((x1, x2), target, target), NOW)
    kcl.end(NOW)
    exact(loss, g["loss"].mean())
    exact(kcl.queue.rows.T, g["queue_after"])
    assert kcl.label_queue.rows.equal(g["label_queue_after"])
    assert int(kcl.label_queue.head) == int(g["ptr_after"])


@pytest.mark.full
def test_two_ranks_gather_keys_and_labels_as_recorded(program, tmp_path):
    done = program(Path(__file__).with_name("kcl_two_ranks.py"), GOLDEN / "kcl_world2_gather.npz", tmp_path, ranks=2)
    assert done.returncode == 0, done.stderr
    gaps = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    for gap in gaps:
        assert max(gap.values()) < 1e-6, gaps


def images(step, count=8):
    rng = np.random.default_rng(step + 9)
    x = torch.from_numpy(rng.normal(size=(2, count, 3, 8, 8)))
    return Batch(tuple(x), torch.from_numpy(rng.integers(0, 3, count)), torch.arange(count))


def small(kind, **how):
    """A convolution, BatchNorm, a linear head, and a queue of 32."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    method = kind(Encoder(body, nn.Linear(6, 4)), dim=4, queue=32, momentum=0.9, bn_groups=2, **how)
    return method.double().train()


def losses(method, steps):
    optimizer = optim.sgd(method, 0.05, 0.9, 1e-4)
    for step in range(steps):
        now = Now(step, steps, 0)
        method.begin(now)
        loss, _ = method(images(step), now)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.end(now)
        yield loss.detach()


@pytest.mark.parametrize("how", [{}, {"pick": "first"}, {"posk": 0}, {"losstype": "v2"}, {"sump": True}])
def test_without_labels_in_the_queue_a_step_is_one_of_moco(how):
    kcl, moco = small(KCL, batch=8, **how), small(MoCo)
    moco.load_state_dict({k: v for k, v in kcl.state_dict().items() if not k.startswith("label_queue.")})
    assert torch.allclose(next(losses(kcl, 1)), next(losses(moco, 1)), rtol=0, atol=1e-12)
    for a, b in zip(kcl.online.parameters(), moco.online.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_the_batches_asked_for_fill_the_queue_with_labels():
    kcl = small(KCL, batch=8)
    before = [p.clone() for p in kcl.parameters()]
    assert kcl.prefill == 4
    for number in range(kcl.prefill):
        kcl.fill(images(-number - 1), Now(number - kcl.prefill, 1, 0))
    assert (kcl.label_queue.rows >= 0).all()
    assert all(p.equal(was) for p, was in zip(kcl.parameters(), before, strict=True))
    assert int(kcl.online.backbone[1].num_batches_tracked) == int(kcl.target.backbone[1].num_batches_tracked) == 8
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


def test_another_choice_or_loss_is_refused_by_name():
    with pytest.raises(UserError, match="did you mean 'random'"):
        small(KCL, batch=8, pick="rand")
    with pytest.raises(UserError, match="unknown losstype"):
        small(KCL, batch=8, losstype="v3")
