"""What options of a run do: parts of a batch, checkpoints kept, orders, other logs."""

from dataclasses import replace

import pytest
import torch

from viewstream.trainers.recipes.options import BYOL, KCL, SEED, MoCo, Supervised

from ..small_runs import COMMON, losses, rows, state

FULL = pytest.mark.full


def test_a_batch_in_parts_gives_the_losses_of_the_whole_where_no_statistics_are_taken(run, moco):
    probe = Supervised(**COMMON, views="supervised", trained="classifier")
    whole = run("whole", probe, pretrained=str(moco / "last.pt"))
    parts = run("parts", replace(probe, accumulate=4), pretrained=str(moco / "last.pt"))
    assert len(losses(parts)) == len(losses(whole)) == 12
    assert losses(parts) == pytest.approx(losses(whole), abs=1e-5)


def test_byol_takes_a_batch_in_parts(run):
    recipe = BYOL(**COMMON, views="byol", dim=16, hidden=32)
    whole, parts = run("whole", recipe), run("parts", replace(recipe, accumulate=2))
    assert len(losses(parts)) == 12
    assert losses(parts) != losses(whole)  # BatchNorm sees the parts


def test_evaluations_keep_the_best_checkpoint_and_epochs_are_kept_on_request(run):
    folder = run("run", Supervised(**COMMON, views="supervised", bn_groups=2), eval_every=1, keep_every=1)
    found = {row["epoch"]: row["top1"] for row in rows(folder) if "top1" in row}
    best = max(found, key=lambda epoch: found[epoch])  # the first of equals
    assert found.keys() == {0, 1}
    kept = {epoch: torch.load(folder / f"epoch-{epoch + 1:04d}.pt", weights_only=True)["step"] for epoch in found}
    assert kept == {0: 6, 1: 12}
    assert torch.load(folder / "best.pt", weights_only=True)["step"] == 6 * (best + 1)
    assert {path.name for path in folder.iterdir()} == {
        "last.pt", "best.pt", "epoch-0001.pt", "epoch-0002.pt", "config.json", "log.jsonl", "rank-0.log",
    }  # fmt: skip
    assert "rank 0 of 1" in (folder / "rank-0.log").read_text()


def test_kcls_queues_are_full_at_the_first_step_and_mocos_fill_as_it_goes(run, moco):
    kcl = run("kcl", KCL(**COMMON, queue=64, dim=16, bn_groups=2, posk=2))
    assert [row["filled"] for row in rows(kcl)] == [1.0] * 12
    assert all(0 < row["positives"] <= 2 for row in rows(kcl))
    last = [row["filled"] for row in rows(moco)][-1]
    assert last == 1.0


def test_small_patches_train_with_a_queue_of_their_own(run, moco):
    recipe = SEED(**{**COMMON, "epochs": 1}, views="seed_patches", queue=64, dim=16, bn_groups=2,
                  teacher_arch="test_resnet")  # fmt: skip
    folder = run("seed", recipe, teacher=str(moco / "last.pt"))
    assert all(row["small"] > 0 for row in rows(folder))
    assert state(folder)["small_queue.rows"].shape == (64, 16)


def test_classes_in_turn_are_an_order_of_the_run(run, built):
    recipe = Supervised(**COMMON, views="supervised", bn_groups=2, balanced=True, bal_repeat=2)
    one, other = run("one", recipe), run("other", replace(recipe, balanced=False))
    assert losses(one) != losses(other)


@FULL
def test_numbers_go_to_tensorboard(run):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="no tensorboard")
    folder = run("run", MoCo(**COMMON, queue=64, dim=16, bn_groups=2), tensorboard=True)
    read = events.EventAccumulator(str(folder)).Reload()
    assert [event.value for event in read.Scalars("loss")] == pytest.approx([*losses(folder).values()], rel=1e-6)


@FULL
def test_numbers_go_to_weights_and_biases(run, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = run("run", MoCo(**COMMON, queue=64, dim=16, bn_groups=2), wandb="viewstream-tests")
    assert list(folder.glob("wandb/offline-run-*/*.wandb"))


@FULL
def test_compiled_networks_give_the_same_losses(run):
    recipe = BYOL(**COMMON, views="byol", dim=16, hidden=32)
    plain, compiled = run("plain", recipe), run("compiled", recipe, compile=True)
    ours, theirs = losses(compiled), losses(plain)
    assert [ours[step] for step in (1, 2, 3)] == pytest.approx([theirs[step] for step in (1, 2, 3)], abs=1e-3)
    assert state(compiled).keys() == state(plain).keys()
