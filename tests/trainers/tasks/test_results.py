"""results.json keeps the numbers of each set, network and checkpoint apart."""

import errno
import json
import os
import shutil

import pytest

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.trainers.tasks import model as model_module
from viewstream.trainers.tasks import results as results_module
from viewstream.trainers.tasks import run as run_module
from viewstream.trainers.tasks.options import Knn
from viewstream.trainers.tasks.run import evaluate

from ...pairs import pairs
from ..small_runs import rows

REPORT = """
from pathlib import Path
from viewstream.trainers.tasks.options import Knn
from viewstream.trainers.tasks.results import report

def work(number, process, root):
    options = Knn(checkpoint=str(Path(root, str(number), "last.pt")))
    for turn in range(5):
        report(f"knn {process} {turn}", {"top1": 0.5}, options, {"network": "online"})
    return "done"
"""
COMMON = {"loader": "webdataset", "device": "cpu", "batch_size": 26, "k": 5, "max_k": 3}


@pytest.fixture
def run(runs, tmp_path):
    """A copy of a run whose checkpoint has two networks, without results."""
    shutil.copytree(runs / "byol", tmp_path / "run", ignore=shutil.ignore_patterns("results.json"))
    return tmp_path / "run"


def results(run):
    return json.loads((run / "results.json").read_text())


def test_no_number_overwrites_that_of_another_set_network_or_checkpoint(run, built, built_val):
    data, val = str(built.root), str(built_val.root)
    shutil.copyfile(run / "last.pt", run / "epoch-0001.pt")
    changes = ({}, {"network": "online"}, {"val": data}, {"data": val}, {"checkpoint": str(run / "epoch-0001.pt")})
    for change in changes:
        evaluate(Knn(**{"checkpoint": str(run / "last.pt"), "data": data, "val": val, **COMMON, **change}))
    train, test = "pets-full-train", "pets-full-val"
    names = [f"target {train} {test}", f"online {train} {test}", f"target {train} {train}", f"target {test} {test}"]
    assert list(results(run)) == [f"knn {name}" for name in (*names, f"target {train} {test} epoch-0001")]


def test_no_number_overwrites_that_of_other_options_and_the_same_ones_are_one_entry(run, sets):
    for k in (5, 3, 5, 3):
        evaluate(Knn(checkpoint=str(run / "last.pt"), **sets, **(COMMON | {"k": k})))
    first, second = results(run)
    assert (first, second) == ("knn target pets-full-train pets-full-val", f"{first} k=3")
    assert "knn/top1 k=3 T=0.07" in results(run)[second]


def test_a_result_says_when_where_and_by_what_it_was_measured(run, sets):
    evaluate(Knn(checkpoint=str(run / "last.pt"), **sets, **COMMON))
    (entry,) = results(run).values()
    line = rows(run)[-1]
    assert (
        line.items()
        >= {name: entry[name] for name in ("checkpoint_step", "time", "host", "commit", "version", "unit")}.items()
    )
    assert entry["checkpoint_step"] == max(row["step"] for row in rows(run) if "loss" in row)
    assert entry["version"]


def test_the_network_that_is_chosen_by_default_and_by_name_is_one_entry(run, sets):
    for network in ("auto", "target"):
        evaluate(Knn(checkpoint=str(run / "last.pt"), network=network, **sets, **COMMON))
    assert list(results(run)) == ["knn target pets-full-train pets-full-val"]


def test_an_entry_names_its_sets_and_an_older_file_keeps_its_entries(run, built, built_val, sets):
    older = {"knn": {"knn/top1 k=5 T=0.07": 0.5, "options": {}}}
    (run / "results.json").write_text(json.dumps(older))
    found = evaluate(Knn(checkpoint=str(run / "last.pt"), **sets, **COMMON))
    entry = results(run).pop("knn target pets-full-train pets-full-val")
    assert entry["data"] == {"name": built.info.name, "samples": 96, "identity": built.identity}
    assert entry["val"] == {"name": built_val.info.name, "samples": 24, "identity": built_val.identity}
    assert entry["network"] == "target"
    assert {name: entry[name] for name in found} == found
    assert results(run)["knn"] == older["knn"]


def test_sets_of_one_name_and_other_images_are_two_entries(run, pets, sets, tmp_path):
    small = build(BuildOptions(source=pets, out=tmp_path / "small", max_side=48, workers=1))
    for data in (sets["data"], str(small.root), sets["data"]):
        evaluate(Knn(checkpoint=str(run / "last.pt"), data=data, val=sets["val"], **COMMON))
    first, second = results(run)
    assert second.startswith(f"{first} {small.identity[:8]} ")


@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.full)])
def test_two_evaluations_that_end_at_once_lose_no_result(rounds, tmp_path):
    for number in range(rounds):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "log.jsonl").touch()
    assert pairs(REPORT, rounds, tmp_path) == [("done", "done")] * rounds
    names = {f"knn {process} {turn}" for process in (0, 1) for turn in range(5)}
    for number in range(rounds):
        assert results(tmp_path / str(number)).keys() == {f"{name} online" for name in names}
        assert sorted(row["evaluation"] for row in rows(tmp_path / str(number))) == sorted(names)
        assert {path.name for path in (tmp_path / str(number)).iterdir()} == {"results.json", "log.jsonl"}


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("content", [b"", b'{"knn": {"top1"', b"[]", b'{"knn": 5}', b"\xff{}", b"[" * 200_000])
def test_a_damaged_results_file_is_refused_before_anything_is_computed(content, run, sets, monkeypatch):
    (run / "results.json").write_bytes(content)
    monkeypatch.setattr(model_module, "features", lambda *_: pytest.fail("the network was used"))
    with pytest.raises(UserError, match=r"results.json is damaged or cannot be read \(.*\): move it away"):
        evaluate(Knn(checkpoint=str(run / "last.pt"), **sets, **COMMON))
    assert (run / "results.json").read_bytes() == content


def test_a_disk_that_refuses_the_results_costs_no_number(run, sets, monkeypatch, capsys):
    monkeypatch.setattr(results_module, "atomic", full)
    found, show = {}, results_module.show
    monkeypatch.setattr(run_module, "show", lambda name, results: found.update(results) or show(name, results))
    with pytest.raises(
        UserError, match=r"results.json cannot be written \(No space left on device\): check free space"
    ):
        evaluate(Knn(checkpoint=str(run / "last.pt"), **sets, **COMMON))
    shown = capsys.readouterr().out
    assert found
    assert all(f"{value:.4f}" in shown for value in found.values() if isinstance(value, float))


def test_features_that_cannot_be_kept_are_an_error(run, sets, tmp_path, monkeypatch):
    monkeypatch.setattr("viewstream.trainers.tasks.kept.atomic", full)
    with pytest.raises(UserError, match=r"\.npz cannot be written \(No space left on device\): check free space"):
        evaluate(Knn(checkpoint=str(run / "last.pt"), features=str(tmp_path / "kept"), **sets, **COMMON))
