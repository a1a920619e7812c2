"""Logistic regression of a run, through the library."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest
from viewstream.trainers.tasks.labels import drawn
from viewstream.trainers.tasks.options import Linear, Logreg, Shots
from viewstream.trainers.tasks.run import evaluate

COMMON = {"loader": "folder", "device": "cpu", "batch_size": 26}


@pytest.fixture
def options(runs, sets):
    return Logreg(checkpoint=str(runs / "moco/last.pt"), **sets, **COMMON)


def test_all_images_give_one_classifier_with_its_accuracy_by_group(options, runs, sets):
    found = evaluate(replace(options, c=1.0, rule="thirds"))
    assert [*found] == ["c", "top1", "shots/many", "shots/medium", "shots/few", "shots/std", "shots/all"]
    assert found["top1"] == found["shots/all"] > 0
    entry = json.loads((runs / "moco/results.json").read_text())[
        "logreg thirds c=1.0 online pets-full-train pets-full-val"
    ]
    assert entry["top1"] == found["top1"]
    table = pq.read_table(runs / "moco/per_class.parquet").to_pydict()
    images = Manifest.open(sets["val"]).counts
    assert np.average(table["top1"], weights=images) == pytest.approx(found["top1"])  # a row for each class


def test_few_shots_are_five_keyed_draws_with_mean_and_spread(options):
    found = evaluate(replace(options, c=1.0, per_class=4))
    each = np.array([found[f"draw {number} top1"] for number in range(5)])
    assert found["top1 mean"] == pytest.approx(each.mean())
    assert found["top1 std"] == pytest.approx(each.std())
    assert "shots/all mean" in found
    assert evaluate(replace(options, c=1.0, per_class=4)) == pytest.approx(found, nan_ok=True)


def test_draws_have_as_many_images_of_each_class_and_differ(options, built):
    train = Manifest.open(built.root)
    rows = list(drawn(replace(options, per_class=4), train))
    assert len(rows) == 5
    assert all(np.bincount(train.label[one]).tolist() == [4] * 4 for one in rows)
    assert len({tuple(one) for one in rows}) == 5
    (quarter, *_) = drawn(replace(options, fraction=0.25, draws=1), train)
    assert np.bincount(train.label[quarter]).tolist() == [round(n / 4) for n in train.counts]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"per_class": 2, "fraction": 0.5}, "--per-class and --fraction both set the images per class"),
        ({"per_class": 1000}, r"--per-class 1000: class cat of .* has \d+ images: take fewer"),
        ({"fraction": 0.0}, "--fraction 0.0 is not a share"),
        ({"counts": "checkpoint"}, None),
    ],
)
def test_options_that_fit_nothing_are_named_before_features_are_made(changes, reason, options, monkeypatch):
    if reason is None:
        found, same = evaluate(replace(options, c=1.0, **changes)), evaluate(replace(options, c=1.0))
        assert found == pytest.approx(same, nan_ok=True)  # the run was trained on the images of --data
        return
    monkeypatch.setattr("viewstream.trainers.tasks.model.EvaluatedModel.features", None)
    with pytest.raises(UserError, match=reason):
        evaluate(replace(options, **changes))


def test_thirds_of_two_classes_are_refused_before_anything_is_built(runs, sets, monkeypatch):
    monkeypatch.setattr("viewstream.trainers.tasks.model.EvaluatedModel.features", None)
    common = {"checkpoint": str(runs / "moco/last.pt"), "class_subset": "clsset1", "rule": "thirds", **sets, **COMMON}
    for task in (Logreg(**common), Linear(**common), Shots(**common)):
        with pytest.raises(UserError, match="2 classes cannot be cut in three"):
            evaluate(task)


def test_the_strength_is_searched_on_a_fifth_of_each_class(options):
    assert evaluate(options)["c"] in {10.0**power for power in range(-4, 2)}
    with pytest.raises(UserError, match="one image of each class leaves none to search the strength on"):
        evaluate(replace(options, per_class=1, draws=1))
