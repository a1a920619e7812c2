"""What would make a number worthless is an error or a warning: test images in the bank, collapse, nan."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from viewstream.shards.errors import UserError
from viewstream.trainers.tasks.options import Instdisc, Knn, Linear, Shots, Stats, Tsne
from viewstream.trainers.tasks.run import evaluate

COMMON = {"loader": "folder", "device": "cpu", "batch_size": 26}


@pytest.fixture(scope="module")
def changed(runs, tmp_path_factory):
    """(name, change) -> a copy of a run's checkpoint whose weights were changed in place."""

    def call(name, change):
        saved = torch.load(runs / name / "last.pt", weights_only=True)
        change(saved["method"])
        path = tmp_path_factory.mktemp("changed") / "last.pt"
        torch.save(saved, path)
        return str(path)

    return call


def damage(state):
    state["online.backbone.conv1.0.weight"][0] = torch.nan


def collapse(state):
    for name in ("bn2", "downsample.2"):  # the last layers of both paths: features are 0
        state[f"online.backbone.layer4.0.{name}.weight"].zero_()
        state[f"online.backbone.layer4.0.{name}.bias"].zero_()


@pytest.mark.parametrize(
    ("name", "task"), [("moco", Knn(k=3, max_k=3)), ("moco", Linear(epochs=1)), ("supervised", Shots())]
)
def test_test_images_that_are_in_the_bank_are_named_once_and_recorded(runs, sets, built, tmp_path, capsys, name, task):
    first, second = ({"out": str(tmp_path / out)} if isinstance(task, Linear) else {} for out in ("one", "two"))
    common = {"checkpoint": str(runs / name / "last.pt"), **COMMON}
    evaluate(replace(task, **sets | common | first))
    assert "test images are in the bank" not in capsys.readouterr().err
    evaluate(replace(task, **sets | {"val": str(built.root)} | common | second))
    assert capsys.readouterr().err.count("warning: 96 of 96 test images are in the bank") == 1
    saved = json.loads((runs / name / "results.json").read_text()).values()
    last = next(page for page in saved if page["options"].get("val") == str(built.root))
    assert (last["test_images"], last["test_images_in_bank"]) == (96, 96)


@pytest.mark.parametrize("task", [Knn(k=3, max_k=3), Linear(epochs=1), Shots(), Instdisc(), Stats(), Tsne()])
def test_a_network_without_finite_features_is_an_error_in_every_task(changed, sets, static, task):
    path = changed("supervised", damage)
    own = {"static": str(static)} if hasattr(task, "static") else sets
    with pytest.raises(UserError, match=r"features are not finite for .* name an earlier --checkpoint"):
        evaluate(replace(task, checkpoint=path, **own, **COMMON))
    assert not Path(path).with_name("results.json").exists()


def test_a_network_that_has_collapsed_is_named_and_measured_at_chance(changed, sets, static, capsys):
    path = changed("moco", collapse)
    found = evaluate(Instdisc(checkpoint=path, static=str(static), samples_per_chunk=96, **COMMON))
    assert found["instdisc/d-sd top1"] == pytest.approx(100 / 96)
    found = evaluate(Knn(checkpoint=path, k=3, max_k=3, **sets, **COMMON))
    assert found["knn/top1 k=3 T=0.07"] == pytest.approx(1 / 4)
    warnings = [line for line in capsys.readouterr().err.splitlines() if "nearly constant" in line]
    assert len(warnings) == 2
    saved = json.loads(Path(path).with_name("results.json").read_text()).values()
    assert [page["constant_features"] for page in saved] == [True, True]


def test_a_classifier_without_finite_scores_is_an_error(changed, sets):
    path = changed("supervised", lambda state: state["online.head.bias"].fill_(torch.inf))
    with pytest.raises(UserError, match="scores are not finite for 24 of 24 images"):
        evaluate(Shots(checkpoint=path, **sets, **COMMON))
