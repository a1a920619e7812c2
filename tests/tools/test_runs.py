"""Runs listed and compared."""

import importlib
import json
import shutil

import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.exits import outcome
from viewstream.tools.run_files import read_run, runs_below


@pytest.fixture
def runs(tmp_path):
    """Two runs that differ in their rate, one of them measured."""
    for name, lr, loss in (("slow", 0.03, 3.0), ("fast", 0.3, 2.0)):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        config = {"recipe": {"method": "moco", "arch": "resnet18", "lr": lr, "epochs": 2}, "run": {"out": name}}
        (folder / "config.json").write_text(json.dumps(config | {"data": "data/shards/pets"}))
        rows = [{"step": s, "epoch": s // 3, "loss": loss / s, "lr": lr, "img_s": 90.0 + s} for s in range(1, 6)]
        rows.insert(3, {"step": 3, "epoch": 1, "knn": 0.5})
        rows.append({"evaluation": "knn", "knn/top1": 0.25, "checkpoint_step": 5, "data": {"name": "pets"}})
        (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    results = {"knn online": {"evaluation": "knn", "knn/top1": 0.25, "network": "online"}}
    (tmp_path / "runs/fast/results.json").write_text(json.dumps(results))
    return tmp_path / "runs"


def test_a_list_names_method_data_progress_and_what_was_reached(in_process, runs):
    done = in_process("tools/runs.py", "--below", runs, "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["run"].rpartition("/")[2]: row for row in json.loads(done.stdout)}
    wanted = {"method": "moco", "arch": "resnet18", "data": "pets", "epoch": "2/2", "knn": 0.5, "results": 1}
    assert rows["fast"].items() >= (wanted | {"loss": 0.4, "images_per_second": 94}).items()
    table = in_process("tools/runs.py", "--below", runs).stdout
    assert table.splitlines()[0].split()[:4] == ["run", "method", "arch", "data"]
    assert table.count("moco") == 2


def test_a_damaged_run_hides_none_of_the_others(in_process, runs):
    (runs / "slow/config.json").write_text("{")
    done = in_process("tools/runs.py", "--below", runs)
    assert done.returncode == 0
    assert "fast" in done.stdout
    assert "note: left out" in done.stderr
    assert "slow" in done.stderr


def test_a_comparison_shows_options_that_differ_and_numbers_side_by_side(in_process, runs, tmp_path):
    done = in_process("tools/compare.py", runs / "slow", runs / "fast", "--out", tmp_path / "a.png")
    assert done.returncode == 0, done.stderr
    lines = {line[:20].split("  ")[0]: line.split() for line in done.stdout.splitlines()}
    assert lines["lr"][1:] == ["0.0300", "0.3000"]
    assert lines["loss, last"][2:] == ["0.6000", "0.4000"]
    assert "arch" not in lines
    assert "out" not in lines
    assert "-  0.2500" in done.stdout.replace("       ", "  ")
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"
    page = json.loads(in_process("tools/compare.py", runs / "slow", runs / "fast", "--json").stdout)
    assert page["lines"]["knn online: knn/top1"] == [None, 0.25]


def test_runs_of_different_methods_are_compared_by_what_both_have(in_process, runs, tmp_path):
    config = {"recipe": {"method": "supervised", "label_smoothing": 0.1}, "run": {}}
    (runs / "slow/config.json").write_text(json.dumps(config))
    done = in_process("tools/compare.py", runs / "slow", runs / "fast", "--out", tmp_path / "a.png")
    assert done.returncode == 0, done.stderr
    assert "label_smoothing" in done.stdout


@pytest.mark.parametrize("name", ["compare", "report"])
def test_a_probe_is_not_compared_with_a_training_of_a_network(name, runs, monkeypatch):
    config = {"recipe": {"method": "supervised", "trained": "classifier"}, "run": {}}
    (runs / "slow/config.json").write_text(json.dumps(config))
    monkeypatch.setattr("sys.argv", [name, str(runs / "slow"), str(runs / "fast")])
    program = importlib.import_module(f"viewstream.tools.{name}")
    code, words = outcome(program.main)
    assert code == 2
    assert f"{runs / 'slow'} trains a classifier on a fixed network, {runs / 'fast'} a network" in words
    assert not [*runs.rglob("*.html")]


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: shutil.rmtree(folder), "does not exist"),
        (lambda folder: (folder / "config.json").unlink(), "holds no config.json"),
        (lambda folder: (folder / "log.jsonl").unlink(), "log.jsonl does not exist"),
        (lambda folder: (folder / "log.jsonl").write_text("{\n"), "log.jsonl is damaged"),
        (lambda folder: (folder / "results.json").write_text("[]"), "results.json cannot be read"),
    ],
)
def test_what_is_no_run_is_one_line(harm, words, in_process, runs):
    harm(runs / "fast")
    done = in_process("tools/compare.py", runs / "slow", runs / "fast")
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_half_line_of_a_run_that_is_writing_is_left_out(runs):
    with (runs / "fast/log.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    assert read_run(runs / "fast").last("step") == 5


def test_the_newest_run_comes_first(runs):
    (runs / "slow/config.json").touch()
    assert [folder.name for folder in runs_below(runs)] == ["slow", "fast"]


def test_a_folder_without_runs_says_how_to_begin(in_process, tmp_path):
    done = in_process("tools/runs.py", "--below", tmp_path)
    assert done.returncode == 2
    assert "trainers/train.py" in done.stderr
    with pytest.raises(UserError, match="is no run"):
        read_run(tmp_path)
