"""The results of the suites of faults are kept as they were found."""

import json

from . import results
from .results import Row, keep

GOOD = Row("a killed build", 3, {"complete": 1, "absent, then identical": 2}, 0, "tests/chaos/test_results.py::none")
BAD = Row("a killed training", 2, {"identical": 1, "a traceback": 1}, 1, "tests/chaos/test_results.py::none")


def test_a_suite_keeps_its_rows_with_machine_and_commit_and_shows_what_is_bad(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results" / "reliability")
    assert keep("kills", "make chaos PART=kills SEED=7", 7, [GOOD, BAD]) == 1
    found = json.loads((tmp_path / "results" / "reliability" / "kills.json").read_text())
    assert list(found) == ["suite", "command", "seed", "machine", "commit", "rows"]
    assert [Row(**row) for row in found["rows"]] == [GOOD, BAD]
    assert "cores of" in found["machine"]
    assert "identical 1, a traceback 1  BAD 1\n5 faults, 1 bad outcomes" in capsys.readouterr().out
    (row,) = [line for line in (tmp_path / "reliability.md").read_text().splitlines() if "a killed training" in line]
    assert "| 2 | identical: 1, a traceback: 1 | **1** |" in row
