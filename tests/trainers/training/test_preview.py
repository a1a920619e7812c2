"""What a run would do, before it does it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]


SMALL = ("--method", "moco", "--arch", "test_resnet", "--size", 32, "--batch-size", 32, "--queue", 64, "--epochs", 1)
MORE = ("--loader", "folder", "--device", "cpu", "--bn-groups", 1)


def test_the_options_of_a_dry_run_are_a_file_of_the_same_options(in_process, built, tmp_path):
    words = (*SMALL, *MORE, "--data", built.root, "--out", tmp_path / "run", "--dry-run")
    shown = in_process("trainers/train.py", *words)
    assert shown.returncode == 0, shown.stderr
    assert "# 3 steps in an epoch, 3 in 1 epoch;" in shown.stdout
    assert yaml.safe_load(shown.stdout)["recipe"]["queue"] == 64
    (tmp_path / "run.yaml").write_text(shown.stdout)
    again = in_process("trainers/train.py", "--config", tmp_path / "run.yaml", "--dry-run")
    assert (again.returncode, again.stdout) == (0, shown.stdout)
    assert not (tmp_path / "run").exists()


@pytest.mark.full
def test_the_options_of_a_dry_run_are_a_file_that_gives_the_same_run(program, built, tmp_path):
    small = (*SMALL, *MORE, "--data", built.root)
    shown = program("trainers/train.py", *small, "--out", tmp_path / "run", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "# 3 steps in an epoch, 3 in 1 epoch;" in shown.stdout
    assert not (tmp_path / "run").exists()
    (tmp_path / "run.yaml").write_text(shown.stdout)
    assert yaml.safe_load(shown.stdout)["recipe"]["queue"] == 64
    configs = []
    for out, options in (("a", small), ("b", ("--config", tmp_path / "run.yaml"))):
        done = program("trainers/train.py", *options, "--out", tmp_path / out)
        assert done.returncode == 0, done.stderr
        page = json.loads((tmp_path / out / "config.json").read_text())
        page["run"].pop("out")
        assert page.pop("environment")["versions"]["torch"]
        configs.append((page, [json.loads(line)["loss"] for line in (tmp_path / out / "log.jsonl").open()]))
    assert configs[0] == configs[1]
    again = program("trainers/train.py", "--config", tmp_path / "a/config.json", "--out", tmp_path / "c", "--lr", 0.5)
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "c/config.json").read_text())["recipe"]["lr"] == 0.5


def test_a_dry_run_names_what_does_not_fit(in_process, built, tmp_path):
    shown = in_process(
        "trainers/train.py", "--data", built.root, "--batch-size", 512, "--dry-run", "--out", tmp_path / "a"
    )
    assert shown.returncode == 2
    assert "96" in shown.stderr
    assert not (tmp_path / "a").exists()


@pytest.mark.full
def test_the_last_line_of_a_run_is_a_line_of_its_own(program, built, tmp_path):
    small = (*SMALL, *MORE, "--data", built.root)
    argv = [sys.executable, "trainers/train.py", *map(str, small), "--out", str(tmp_path / "run")]
    both = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert both.returncode == 0, both.stdout
    assert both.stdout.splitlines()[-1].startswith("next: python trainers/evaluate.py")
