"""The suite runs its parts, keeps their figures, and fails when a ratio has fallen."""

import copy
import json

import pytest

from viewstream.shards.errors import UserError
from viewstream.tools.bench import suite
from viewstream.tools.bench.figures.pages import TITLES
from viewstream.tools.bench.measuring import part as running
from viewstream.tools.bench.parts.sets import Setting


def test_every_part_has_groups_and_a_title(tmp_path):
    for part in (*suite.PARTS, "check"):
        for quick in (False, True):
            assert suite.cases(part, Setting(tmp_path, quick=quick))
    assert set(suite.PARTS) == TITLES.keys()


def test_the_program_that_checks_ends_with_1_when_a_ratio_has_fallen(loader, tmp_path, monkeypatch, capsys):
    slower = copy.deepcopy(loader)
    slower["two views"]["cpu"]["ours"] = [140.0, 154.0, 140.0]
    (tmp_path / "check.json").write_text(json.dumps(loader))

    def measured(options, part, out):
        (out / f"{part}.json").write_text(json.dumps(slower))
        return True

    monkeypatch.setattr(suite, "measure", measured)
    with pytest.raises(SystemExit) as end:
        suite.check(suite.Suite(out=tmp_path))
    assert end.value.code == 1
    assert "2 of 2 ratios are more than a quarter lower" in capsys.readouterr().out
    slower = loader
    suite.check(suite.Suite(out=tmp_path))
    with pytest.raises(UserError, match="make bench PART=check"):
        suite.check(suite.Suite(out=tmp_path / "none"))


def test_figures_of_this_code_are_kept_and_those_of_other_code_are_measured_again(tmp_path, monkeypatch, cases):
    monkeypatch.setattr(suite, "groups", lambda part, setting: {"a group": cases.half})
    options = suite.Suite(part="draw", work=tmp_path)
    assert suite.measure(options, "draw", tmp_path)
    first = json.loads((tmp_path / "draw.json").read_text())["a group"]
    assert first["checked"] == 50
    assert first["on"]["cores"] >= 1
    monkeypatch.setattr(running, "apart", refuse)
    assert suite.measure(options, "draw", tmp_path)
    monkeypatch.setattr(suite, "code", lambda: "other")
    with pytest.raises(AssertionError, match="measured again"):
        suite.measure(options, "draw", tmp_path)


def refuse(case, seconds):
    raise AssertionError("measured again")


@pytest.mark.full
def test_the_suite_runs_a_part_from_the_command_line(program, pets, tmp_path):
    words = ("--part", "scale", "--quick", "--images", pets, "--work", tmp_path / "work", "--out", tmp_path)
    done = program("tools/bench/suite.py", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "scale.json").read_text())["order of 100,000 rows"]["rows"] == 100_000
    assert "order of 1,000,000 rows" in (tmp_path / "table.md").read_text()
