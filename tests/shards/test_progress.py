"""Progress of a long work, on a terminal and in a log."""

import shutil
import time

import pytest

from viewstream.shards import progress
from viewstream.shards.care.repair import repair
from viewstream.shards.care.verify import verify
from viewstream.shards.exits import outcome
from viewstream.shards.manifest import Manifest
from viewstream.shards.progress import Bar
from viewstream.tools import build_shards


@pytest.fixture
def log(monkeypatch, capsys):
    """What a work has written into a log since the last call. A minute is short."""
    monkeypatch.setattr(progress, "MINUTE", 0.05)
    return lambda: capsys.readouterr().err


def work(steps=4, pause=0.06, **options):
    with Bar(steps, "img", "reading", **options) as bar:
        for _ in range(steps):
            time.sleep(pause)
            bar.update()


def test_a_log_gets_one_line_per_minute_with_rate_and_time_left(log):
    work()
    lines = (text := log()).splitlines()
    assert len({*lines}) == len(lines) >= 4
    assert all(line.startswith("reading: ") and "img/s" in line and "<" in line for line in lines)
    assert "4/4" in lines[-1]
    assert "\r" not in text


def test_a_short_work_writes_nothing_into_a_log(log):
    work(pause=0)
    assert log() == ""


@pytest.mark.parametrize("off", ["quiet", "TQDM_DISABLE"])
def test_progress_can_be_left_out(log, off, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", str(int(off != "quiet")))
    work(quiet=off == "quiet")
    assert log() == ""


def test_what_an_earlier_start_has_done_counts(log):
    with Bar(10, "img", done=8) as bar:
        time.sleep(0.06)
        bar.update()
    assert "9/10" in log().splitlines()[-1]


def test_a_repair_counts_the_images_that_it_fetches_and_writes(built, tmp_path, monkeypatch, capsys):
    copy = Manifest.open(shutil.copytree(built.root, tmp_path / "set"))
    for file in (*copy.tars(), copy.beton_path()):
        file.unlink()
    monkeypatch.setattr(progress, "MINUTE", 0)
    assert len(repair(copy, verify(copy, 1), list)) == 2  # no source is asked: the class folders have all images
    lines = capsys.readouterr().err.splitlines()
    for file in (*copy.tars(), copy.beton_path()):
        assert any(line.startswith(f"repairing {file.name}: 100%") and "192/192" in line for line in lines)


def test_an_interrupted_build_says_that_it_goes_on(monkeypatch, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(build_shards, "build", interrupted)
    monkeypatch.setattr("sys.argv", ["tools/build_shards.py", "--out", str(tmp_path)])
    assert outcome(build_shards.main) == (130, "interrupted: the same command goes on from there")


def test_a_terminal_shows_a_bar_and_the_next_line_begins_below_it(terminal):
    with terminal() as until:
        work(pause=0)
        shown = until("next")
    assert "4/4" in shown
    assert shown.endswith("\r\nnext")
