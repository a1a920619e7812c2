"""Options of a run: parts of a batch, kept checkpoints, orders, other logs."""

import importlib
import json
import struct
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest
import torch
from torch import nn

from viewstream.trainers.loaders import evaluating
from viewstream.trainers.methods.build import build
from viewstream.trainers.recipes.options import BYOL, KCL, SEED, MoCo, Supervised
from viewstream.trainers.tasks.options import Knn
from viewstream.trainers.tasks.run import evaluate
from viewstream.trainers.training.log import Log
from viewstream.trainers.training.options import Run
from viewstream.trainers.training.setup import training_loader
from viewstream.trainers.training.sheet import GAP, IMAGES
from viewstream.trainers.training.validate import Validator

from ..small_runs import COMMON, losses, rows, state

FULL = pytest.mark.full


def test_a_batch_in_parts_without_batchnorm_gives_the_losses_of_the_whole(run, moco):
    probe = Supervised(**COMMON, views="supervised", trained="classifier")
    whole = run("whole", probe, pretrained=str(moco / "last.pt"))
    parts = run("parts", replace(probe, accumulate=4), pretrained=str(moco / "last.pt"))
    assert len(losses(parts)) == len(losses(whole)) == 12
    assert losses(parts) == pytest.approx(losses(whole), abs=1e-5)


def test_batchnorm_takes_statistics_of_each_part_of_a_batch(run):
    """At rate 0 the weights stay, so the loss of a batch in two parts is the mean of two batches of half its size."""
    recipe = BYOL(**COMMON | {"lr": 0.0}, views="byol", dim=16, hidden=32)
    parts, halves = run("parts", replace(recipe, accumulate=2)), run("halves", replace(recipe, batch_size=8))
    pairs = zip(*[iter(losses(halves).values())] * 2, strict=True)
    assert list(losses(parts).values()) == pytest.approx([(first + second) / 2 for first, second in pairs], rel=1e-6)


def test_the_best_checkpoint_and_every_requested_epoch_are_kept(run):
    folder = run("run", Supervised(**COMMON, views="supervised", bn_groups=2), eval_every=1, keep_every=1)
    found = {row["epoch"]: row["top1"] for row in rows(folder) if "top1" in row}
    best = max(found, key=lambda epoch: found[epoch])  # the first of equal ones
    assert found.keys() == {0, 1}
    kept = {epoch: torch.load(folder / f"epoch-{epoch + 1:04d}.pt", weights_only=True)["step"] for epoch in found}
    assert kept == {0: 6, 1: 12}
    assert torch.load(folder / "best.pt", weights_only=True)["step"] == 6 * (best + 1)
    checkpoints = {"last.pt", "best.pt", "epoch-0001.pt", "epoch-0002.pt"}
    assert {path.name for path in folder.iterdir()} == checkpoints | {"config.json", "log.jsonl", "rank-0.log"}
    assert "rank 0 of 1" in (folder / "rank-0.log").read_text()


def test_the_best_checkpoint_evaluates_to_the_number_that_the_run_reported(run, sets):
    recipe = MoCo(**COMMON | {"epochs": 4}, queue=64, dim=16, bn_groups=2)
    folder = run("run", recipe, eval_every=1, save_every=4, knn_k=5)
    found = {row["step"]: row["knn"] for row in rows(folder) if "knn" in row}
    best = max(found, key=lambda step: found[step])
    assert found.keys() == {6, 12, 18, 24}
    assert torch.load(folder / "best.pt", weights_only=True)["step"] == best
    measured = evaluate(Knn(checkpoint=str(folder / "best.pt"), **sets, loader="folder", device="cpu", k=5, max_k=1))
    assert measured["knn/top1 k=5 T=0.07"] == found[best]


def test_a_run_stopped_before_a_measurement_measures_when_it_resumes(run, monkeypatch):
    recipe, own = Supervised(**COMMON, views="supervised", bn_groups=2), Log.step

    def stopping(self, step, *arguments, **options):
        self.stop = step == 6
        own(self, step, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Log, "step", stopping)
        folder = run("run", recipe, eval_every=1)
    assert torch.load(folder / "last.pt", weights_only=True)["step"] == 6
    assert not [row for row in rows(folder) if "top1" in row]
    for _ in range(2):  # a finished run measures nothing twice
        run("run", recipe, eval_every=1, resume="auto")
        assert [row["step"] for row in rows(folder) if "top1" in row] == [6, 12]


def test_the_queues_of_kcl_are_full_at_the_first_step_and_that_of_moco_fills_up(run, moco):
    kcl = run("kcl", KCL(**COMMON, queue=64, dim=16, bn_groups=2, posk=2))
    assert [row["filled"] for row in rows(kcl)] == [1.0] * 12
    assert all(0 < row["positives"] <= 2 for row in rows(kcl))
    last = [row["filled"] for row in rows(moco)][-1]
    assert last == 1.0


@pytest.mark.parametrize(("views", "tested"), [("inat_slaug", "inat_evaluation"), ("slaug", "evaluation")])
def test_validation_normalizes_as_the_training_does(built, built_val, views, tested):
    recipe = KCL(**COMMON, views=views, queue=64, dim=16, bn_groups=2)
    run = Run(data=str(built.root), val=str(built_val.root), loader="folder", eval_every=1, knn_k=3)
    with ExitStack() as stack:
        validator = stack.enter_context(
            closing(Validator(build(recipe), recipe, run, built, built_val, torch.device("cpu")))
        )
        expected = evaluating(built_val, 32, 16, run, torch.device("cpu"), tested)
        loaders = validator.loaders[1], stack.enter_context(closing(expected))
        (found,), (right,) = (next(iter(loader.epoch(0))).views for loader in loaders)
    assert torch.equal(found, right)


def test_small_patches_have_their_own_queue(run, moco):
    sizes = {"queue": 64, "dim": 16, "bn_groups": 2}
    recipe = SEED(**COMMON | {"epochs": 1}, **sizes, views="seed_patches", teacher_arch="test_resnet")
    folder = run("seed", recipe, teacher=str(moco / "last.pt"))
    assert all(row["small"] > 0 for row in rows(folder))
    assert state(folder)["small_queue.rows"].shape == (64, 16)


def test_balanced_batches_hold_every_class_equally_often_in_runs_of_bal_repeat(built):
    recipe = Supervised(**COMMON, views="supervised", bn_groups=2, balanced=True, bal_repeat=2)

    def targets(recipe):
        with closing(training_loader(recipe, Run(loader="folder"), built, torch.device("cpu"))) as loader:
            return torch.stack([batch.target for batch in loader.epoch(0)])  # [6, 16]

    balanced, shuffled = targets(recipe), targets(replace(recipe, balanced=False))
    assert (nn.functional.one_hot(balanced).sum(dim=1) == 4).all()
    assert torch.equal(balanced[:, ::2], balanced[:, 1::2])
    assert not (nn.functional.one_hot(shuffled).sum(dim=1) == 4).all()


@FULL
def test_numbers_go_to_tensorboard(run):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="no tensorboard")
    folder = run("run", MoCo(**COMMON, queue=64, dim=16, bn_groups=2), tensorboard=True)
    read = events.EventAccumulator(str(folder)).Reload()
    assert [event.value for event in read.Scalars("loss")] == pytest.approx([*losses(folder).values()], rel=1e-6)
    (shown,) = read.Tensors("configuration/text_summary")
    assert b"queue: 64" in shown.tensor_proto.string_val[0]
    (views,) = read.Images("views")
    assert (views.step, views.height, views.width) == (0, 2 * 32 + GAP, IMAGES * (32 + GAP) - GAP)
    run("run", MoCo(**COMMON, queue=64, dim=16, bn_groups=2), tensorboard=True, resume="auto")
    assert len(events.EventAccumulator(str(folder)).Reload().Images("views")) == 1


def test_numbers_go_to_a_table_that_a_resumed_run_continues(run):
    recipe = MoCo(**COMMON, queue=64, dim=16, bn_groups=2)
    folder = run("run", recipe, csv=True)
    wanted = {str(step): repr(loss) for step, loss in losses(folder).items()}
    table = folder / "log.csv"
    table.write_text(table.read_text() + "999,loss,1.0\n5,lo")  # of a run that was killed later
    run("run", recipe, csv=True, resume="auto")
    head, *lines = [line.split(",") for line in table.read_text().splitlines()]
    assert head == ["step", "name", "value"]
    assert {step: value for step, name, value in lines if name == "loss"} == wanted
    assert {"lr", "img_s", "read_ms"} <= {name for _, name, _ in lines}


def offline(data):
    """The records in a file of Weights & Biases: a head of seven bytes, then the log format of LevelDB."""
    at, whole = 7, b""
    while at < len(data):
        if (left := -at % 32768) < 7:  # too few for the head of a part
            at += left
            continue
        length, part = struct.unpack_from("<4xHB", data, at)
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if part in (1, 4):  # whole, or the last of several
            yield whole
            whole = b""


@FULL
def test_numbers_go_to_weights_and_biases(run, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = run("run", MoCo(**COMMON, queue=64, dim=16, bn_groups=2), wandb="viewstream-tests")
    (record,) = folder.glob("wandb/offline-run-*/*.wandb")
    kind = importlib.import_module("wandb.proto.wandb_internal_pb2").Record
    records = [kind.FromString(data) for data in offline(record.read_bytes())]
    saved = {item.key: json.loads(item.value_json) for one in records for item in one.run.config.update}
    assert saved["recipe"]["queue"] == 64
    history = [{i.key or i.nested_key[0]: i.value_json for i in one.history.item} for one in records]
    shown = [float(row["loss"]) for row in history if "loss" in row]
    assert shown == pytest.approx([*losses(folder).values()], rel=1e-6)
    assert any("views" in row for row in history)
