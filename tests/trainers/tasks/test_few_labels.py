"""A linear probe on keyed draws of few labels: each draw is a run of its own, reported with mean and spread."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from viewstream.shards.errors import UserError
from viewstream.trainers.tasks.options import Linear
from viewstream.trainers.tasks.run import evaluate

COMMON = {"loader": "folder", "device": "cpu", "batch_size": 16, "epochs": 2}


@pytest.fixture
def options(runs, sets, tmp_path):
    return Linear(checkpoint=str(runs / "moco/last.pt"), out=str(tmp_path / "probe"), **sets, **COMMON)


def test_one_command_trains_a_probe_on_each_draw_and_reports_mean_and_spread(options, runs, tmp_path):
    found = evaluate(replace(options, per_class=4, draws=3, rule="thirds"))
    names = ("best top1", "top1", "shots/many", "shots/medium", "shots/few", "shots/std", "shots/all")
    assert [*found] == [
        *(f"draw {number} {name}" for number in range(3) for name in names[:2]),
        *(f"{name} {what}" for name in names for what in ("mean", "std")),
    ]
    for name in names[:2]:
        each = np.array([found[f"draw {number} {name}"] for number in range(3)])
        assert found[f"{name} mean"] == pytest.approx(each.mean())
        assert found[f"{name} std"] == pytest.approx(each.std())
    saved = json.loads((runs / "moco/results.json").read_text())
    entry = saved["linear epochs=2 thirds per_class=4 draws=3 online pets-full-train pets-full-val"]
    assert {name: entry[name] for name in found} == found
    weights = []
    for number in range(3):
        state = torch.load(tmp_path / f"probe/draw-{number}/last.pt", weights_only=True)
        assert state["classes"]["counts"] == [4] * 4
        assert state["step"] == 2  # sixteen images are one batch of each epoch
        weights.append(state["method"]["online.head.weight"])
    assert not weights[0].equal(weights[1])


def test_a_share_of_each_class_is_drawn_and_all_labels_are_one_probe(options, tmp_path):
    evaluate(replace(options, fraction=0.25, draws=1))
    counts = torch.load(tmp_path / "probe/draw-0/last.pt", weights_only=True)["classes"]["counts"]
    assert counts == [6] * 4
    whole = evaluate(replace(options, out=str(tmp_path / "whole")))
    assert "top1" in whole
    assert not any(name.startswith("draw") for name in whole)


def test_the_same_command_goes_on_after_the_draws_that_are_finished(options, monkeypatch, tmp_path):
    few = replace(options, per_class=4, draws=2)
    found = evaluate(few)
    (tmp_path / "probe/draw-1").rename(tmp_path / "second")
    first = (tmp_path / "probe/draw-0/last.pt").read_bytes()
    assert evaluate(few) == pytest.approx(found, nan_ok=True)
    assert (tmp_path / "probe/draw-0/last.pt").read_bytes() == first
    with pytest.raises(UserError, match="was trained with another data"):
        evaluate(replace(few, per_class=5))


def test_draws_without_a_folder_lie_beside_the_checkpoint_under_their_share(options, runs):
    evaluate(replace(options, out="", per_class=2, draws=1, epochs=1))
    assert (runs / "moco/linear-pets-full-train-2-per-class/draw-0/last.pt").exists()


def test_groups_may_follow_the_images_that_the_network_was_trained_on(options, tmp_path):
    found = evaluate(replace(options, per_class=4, draws=1, counts="checkpoint"))
    assert np.isnan(found["shots/few"])  # 24 images of each class, where the draw has 4
    assert found["shots/medium"] == pytest.approx(found["top1"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"per_class": 2, "fraction": 0.5}, "--per-class and --fraction both set the images per class"),
        ({"per_class": 1000}, r"--per-class 1000: class cat of .* has \d+ images: take fewer"),
        ({"fraction": 0.0}, "--fraction 0.0 is not a share"),
    ],
)
def test_labels_that_are_not_there_are_named_before_anything_is_trained(changes, reason, options, tmp_path):
    with pytest.raises(UserError, match=reason):
        evaluate(replace(options, **changes))
    assert not (tmp_path / "probe").exists()
