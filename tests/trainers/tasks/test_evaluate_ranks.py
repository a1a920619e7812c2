"""Evaluations on any number of ranks give the numbers of one rank."""

import json

import pytest
import torch

from viewstream.shards.zips import damaged_member
from viewstream.trainers.tasks.options import Instdisc, Knn, Linear, Rankme
from viewstream.trainers.tasks.run import evaluate

from ...flipping import flipped
from ..small_runs import SMALL_WORDS, rows

FULL = pytest.mark.full


def flags(options):
    """The command line of these options."""
    return [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]


@FULL
def test_two_ranks_give_the_numbers_of_one(program, first, built, built_val):
    sets = {"data": str(built.root), "val": str(built_val.root)}
    options = {"loader": "folder", "batch_size": 26, "k": 5, "max_k": 11, "device": "cpu", **sets}
    one = evaluate(Knn(checkpoint=str(first / "last.pt"), **options))
    done = program("trainers/evaluate.py", "--checkpoint", first / "last.pt", *flags(options), ranks=2)
    assert done.returncode == 0, done.stderr
    two = json.loads((first / "results.json").read_text())["knn online pets-full-train pets-full-val"]
    assert {k: two[k] for k in one} == one


@FULL
@pytest.mark.parametrize("ranks", [2, 3])
def test_any_number_of_ranks_gives_the_numbers_of_one(program, runs, sets, static, ranks):
    common = {"checkpoint": str(runs / "moco/last.pt"), "loader": "folder", "device": "cpu", "batch_size": 30}
    options = {"k": 5, "max_k": 11, **sets, **common}
    one = evaluate(Knn(**options))
    done = program("trainers/evaluate.py", "--task", "knn", *flags(options), ranks=ranks)
    assert done.returncode == 0, done.stderr
    several = json.loads((runs / "moco/results.json").read_text())["knn online pets-full-train pets-full-val"]
    assert {name: several[name] for name in one} == one
    options = {"static": str(static), **common}
    one = evaluate(Instdisc(**options))
    done = program("trainers/evaluate.py", "--task", "instdisc", *flags(options), ranks=ranks)
    assert done.returncode == 0, done.stderr
    several = json.loads((runs / "moco/results.json").read_text())["instdisc online set"]
    assert {name: several[name] for name in one} == one


@FULL
def test_two_ranks_make_damaged_features_again_together(program, runs, sets, tmp_path):
    options = {"checkpoint": str(runs / "moco/last.pt"), "loader": "folder", "device": "cpu", "batch_size": 30, **sets}
    options |= {"k": 5, "max_k": 11, "features": str(tmp_path / "kept")}
    one = evaluate(Knn(**options))
    file = next((tmp_path / "kept").glob("*.npz"))
    whole = file.read_bytes()
    file.write_bytes(flipped(whole, 4 * len(whole)))
    done = program("trainers/evaluate.py", "--task", "knn", *flags(options), ranks=2)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"note: {file} is damaged") == 1
    assert not damaged_member(file)
    two = json.loads((runs / "moco/results.json").read_text())["knn online pets-full-train pets-full-val"]
    assert {name: two[name] for name in one} == one


@FULL
def test_validation_on_two_ranks_equals_the_evaluation_of_their_checkpoint(program, built, built_val, tmp_path):
    out = tmp_path / "run"
    sets = ("--data", built.root, "--val", built_val.root, "--loader", "webdataset")
    done = program("trainers/train.py", *sets, *SMALL_WORDS, "--eval-every", 2, "--knn-k", 5, "--out", out, ranks=2)
    assert done.returncode == 0, done.stderr
    validated = next(row["knn"] for row in rows(out) if "knn" in row)
    options = {"data": str(built.root), "val": str(built_val.root), "loader": "webdataset", "device": "cpu"}
    found = evaluate(Knn(checkpoint=str(out / "last.pt"), k=5, max_k=11, **options))
    assert found["knn/top1 k=5 T=0.07"] == validated


@FULL
def test_two_ranks_draw_the_labels_and_views_of_one(program, runs, sets):
    """A probe on draws of few labels, and LiDAR; features of shares of a batch differ by rounding."""
    common = {"checkpoint": str(runs / "moco/last.pt"), "loader": "folder", "device": "cpu", "batch_size": 16, **sets}
    few = {"epochs": 1, "per_class": 4, "draws": 2}
    one = evaluate(Linear(**common, **few, out=str(runs / "alone")))
    words = flags({**common, **few, "out": str(runs / "together")})
    done = program("trainers/evaluate.py", "--task", "linear", *words, ranks=2)
    assert done.returncode == 0, done.stderr
    saved = json.loads((runs / "moco/results.json").read_text())
    two = saved["linear epochs=1 per_class=4 draws=2 online pets-full-train pets-full-val"]
    assert {k: two[k] for k in one if two[k] is not None} == pytest.approx(
        {k: v for k, v in one.items() if two[k] is not None}, abs=0.1
    )
    for number in range(2):
        folders = [runs / name / f"draw-{number}" for name in ("alone", "together")]
        first, second = (torch.load(folder / "last.pt", weights_only=True) for folder in folders)
        assert first["data"] == second["data"]
    measured = {name: value for name, value in common.items() if name != "val"} | {"lidar": 3}
    one = evaluate(Rankme(**measured))
    done = program("trainers/evaluate.py", "--task", "rankme", *flags(measured), ranks=2)
    assert done.returncode == 0, done.stderr
    two = json.loads((runs / "moco/results.json").read_text())["rankme lidar=3 online pets-full-train"]
    assert {name: two[name] for name in one} == pytest.approx(one, rel=1e-2)
