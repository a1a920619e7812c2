"""A case runs in a process of its own; a part keeps what it has measured."""

import json
import os
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from viewstream.tools.bench.measuring import part
from viewstream.tools.bench.measuring.apart import apart
from viewstream.tools.bench.on_gpu.table import table


def test_a_case_runs_in_a_process_of_its_own_and_its_error_is_kept(cases):
    assert apart(cases.half, 60) == {"checked": 50}
    assert apart(cases.broken, 60) == {"error": "ValueError: no kernel"}
    assert apart(cases.dead, 60) == {"error": "the process died with code 3"}


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="semaphores are no files on this system")
def test_a_case_leaves_no_semaphore(cases):
    name = apart(cases.locked, 60)["semaphore"]
    assert not (Path("/dev/shm") / f"sem.{name}").exists()


@pytest.mark.full
def test_a_case_whose_time_is_over_ends_with_the_programs_that_it_started(cases, tmp_path):
    assert apart(partial(cases.long, tmp_path / "pid"), 20) == {"error": "not finished after 20 s"}
    pid = int((tmp_path / "pid").read_text())
    with suppress(ProcessLookupError):
        for _ in range(200):  # until its new parent has taken notice
            os.kill(pid, 0)
            time.sleep(0.05)
        pytest.fail(f"process {pid} goes on")


def test_a_part_keeps_each_figure_and_runs_again_what_failed(cases, tmp_path, monkeypatch):
    def at_once(case, seconds):
        try:
            return case()
        except ValueError as error:
            return {"error": f"ValueError: {error}"}

    monkeypatch.setattr(part, "apart", at_once)
    path = tmp_path / "sync.json"
    assert not part.run_part({"moco, eager": cases.half, "byol, eager": cases.broken}, path, 5)
    assert json.loads(path.read_text()) == {
        "moco, eager": {"checked": 50},
        "byol, eager": {"error": "ValueError: no kernel"},
    }
    assert "* byol, eager: ValueError: no kernel" in table(tmp_path)
    assert part.run_part(
        {"moco, eager": cases.broken, "byol, eager": cases.half}, path, 5
    )  # moco has its figure and is not run
    assert "| byol, eager | 50 |" in table(tmp_path)
    assert not part.run_part({"kcl, eager": cases.half}, path, 0.1)
