"""RankMe, alpha-ReQ and LiDAR of a run, through the library."""

from dataclasses import replace

import pytest
import torch

from viewstream.augment.recipes import moco_v2
from viewstream.shards.errors import UserError
from viewstream.trainers.evals.alpha_req import power_law, spectrum
from viewstream.trainers.tasks.model import EvaluatedModel
from viewstream.trainers.tasks.options import Rankme
from viewstream.trainers.tasks.run import evaluate


@pytest.fixture
def options(runs, sets):
    return Rankme(
        checkpoint=str(runs / "moco/last.pt"), data=sets["data"], loader="folder", device="cpu", batch_size=26
    )


def test_one_set_without_labels_gives_its_ranks(options, built):
    found = evaluate(options)
    assert [*found] == ["rankme", "rankme/largest", "alpha-req", "alpha-req/r2"]
    assert 1 <= found["rankme"] <= found["rankme/largest"] + 0.01
    x, _ = EvaluatedModel(options, torch.device("cpu")).features(built)
    assert found["alpha-req"] == power_law(spectrum(x)).alpha


def test_few_images_have_a_rank_and_a_note_instead_of_alpha_req(options, capsys):
    found = evaluate(replace(options, images=10))
    assert [*found] == ["rankme", "rankme/largest"]
    assert found["rankme/largest"] <= 10
    assert "note: no alpha-ReQ, since features vary in 9 directions" in capsys.readouterr().err


def test_lidar_draws_views_of_the_training_which_differ_and_repeat(options, built):
    found = evaluate(replace(options, lidar=3))
    assert found == evaluate(replace(options, lidar=3, views="moco_v2"))  # as the run was trained
    assert found["lidar"] != evaluate(replace(options, lidar=3, views="seed"))["lidar"]
    x = EvaluatedModel(options, torch.device("cpu")).view_features(built, moco_v2(32)[0], 3)
    assert x.shape[:2] == (96, 3)
    assert not x[:, 0].equal(x[:, 1])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"lidar": 1}, "--lidar 1 compares views of each image with one another: take 2 or more"),
        ({"lidar": 2, "views": "mocov2"}, "unknown augmentation recipe 'mocov2': did you mean 'moco_v2'"),
    ],
)
def test_what_lidar_cannot_compare_is_refused_before_features_are_made(changes, reason, options, monkeypatch):
    monkeypatch.setattr("viewstream.trainers.tasks.model.EvaluatedModel.features", None)
    with pytest.raises(UserError, match=reason):
        evaluate(replace(options, **changes))


def test_lidar_of_a_checkpoint_without_a_recipe_needs_the_name_of_its_views(options, body, tmp_path):
    torch.save({"arch": "test_resnet", "state_dict": body}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"x.pth names no training views for LiDAR: name them, as in --views moco_v2"):
        evaluate(replace(options, checkpoint=str(tmp_path / "x.pth"), size=32, lidar=2))
