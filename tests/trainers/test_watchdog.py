"""The watchdog: a job that hangs ends with the stacks of its ranks and one line; one that is slow goes on."""

from datetime import timedelta
from pathlib import Path

import pytest
import torch

from viewstream.trainers.marks import Progress
from viewstream.trainers.watchdog import CODE, TURNS, Beat, Watchdog, time_out

from .small_runs import losses

PROGRAM = Path(__file__).with_name("hanging.py")


@pytest.fixture
def job(program, built, built_val, tmp_path):
    """(what happens, seconds, ranks, torchrun) -> the finished job, and the folder of its run."""

    def call(what, seconds=3, ranks=2, torchrun=False):
        started = 1 if torchrun else ranks
        command = (PROGRAM, what, built.root, built_val.root, tmp_path / "run", seconds, started)
        done = program(*command, ranks=ranks if torchrun else 1)
        return done, tmp_path / "run"

    return call


def test_a_rank_that_is_stopped_is_named_and_ends_the_job_with_the_stacks_of_the_others(job):
    done, out = job("stopped")
    assert done.returncode == CODE
    *_, last = done.stderr.rstrip().splitlines()
    assert last.startswith("error: rank 1 has been silent for 3 s (stopped, or gone): rank 0 at ")
    assert "step 3" in last
    stacks = (out / "stacks-rank-0.txt").read_text()
    assert "loop.py" in stacks
    assert stacks in done.stderr
    assert "Traceback" not in done.stderr
    assert torch.load(out / "last.pt", weights_only=True)["step"] == 2


@pytest.mark.full
def test_a_rank_whose_images_do_not_come_is_named_with_what_it_waits_for(job):
    done, out = job("no image")
    assert done.returncode == CODE
    *_, last = done.stderr.rstrip().splitlines()
    assert "no process has moved for 3 s" in last
    assert "rank 1 at the loader's batch for step " in last
    for rank in (0, 1):
        text = (out / f"stacks-rank-{rank}.txt").read_text()
        assert text.startswith(f"rank {rank}, at ")
        assert text in done.stderr
    assert "hanging.py" in (out / "stacks-rank-1.txt").read_text()  # the thread that waits for the image


@pytest.mark.full
def test_a_process_alone_is_ended_too(job):
    done, out = job("no image", ranks=1)
    assert done.returncode == CODE
    *_, last = done.stderr.rstrip().splitlines()
    assert last.startswith("error: no process has moved for 3 s: rank 0 at the loader's batch for step ")
    assert "hanging.py" in (out / "stacks-rank-0.txt").read_text()


@pytest.mark.full
@pytest.mark.parametrize("what", ["slow disk", "slow measurement"])
def test_a_checkpoint_or_a_measurement_longer_than_the_watchdog_is_no_hang(job, what):
    """Each write and each batch is a mark. The other rank waits for the disk longer than collectives may last."""
    done, out = job(what)
    assert done.returncode == 0, done.stderr
    assert losses(out).keys() == set(range(1, 25))
    assert not [*out.glob("stacks-*")]


@pytest.mark.full
def test_a_stopped_rank_ends_a_job_of_torchrun_with_the_line_in_its_report(job):
    done, out = job("stopped", torchrun=True)
    assert done.returncode
    assert "error on rank 0: rank 1 has been silent for 3 s (stopped, or gone)" in done.stderr
    assert (out / "stacks-rank-0.txt").exists()


def test_compiling_takes_its_time():
    """With the compiler of torch and a backend that asks."""
    progress, limited = Progress(), []

    def backend(graph, _):
        limited.append(progress.limited)
        return graph

    torch.compiler.reset()
    progress.spare_compiling()
    progress.at("step 1")
    assert progress.limited
    before = progress.moves
    torch.compile(lambda x: x + 1, backend=backend)(torch.ones(2))
    torch.compiler.reset()
    assert limited == [False]
    assert progress.limited
    assert progress.moves > before


def test_time_in_which_the_whole_job_was_stopped_does_not_count():
    """Turns are counted, not seconds: whatever time lies between two of them."""
    dog = Watchdog(seconds=600)
    assert not dog.hangs
    dog.beats[0] = Beat(1, idle=TURNS - 1, doing="step 1")
    assert not dog.hangs
    dog.beats[0] = Beat(2, idle=TURNS, doing="step 1")
    assert dog.hangs


def test_the_odd_rank_is_named_first():
    dog = Watchdog(seconds=600)
    at = {0: "step 5", 1: "step 5", 2: "the loader's batch for step 5", 3: "step 5"}
    dog.beats = {rank: Beat(1, TURNS, doing) for rank, doing in at.items()}
    assert "600 s: rank 2 at the loader's batch for step 5, ranks 0, 1, 3 at step 5; the stacks" in dog.words([])
    assert dog.words([2]).startswith("rank 2 has been silent for 600 s (stopped, or gone): ranks 0, 1, 3 at step 5; ")


def test_ranks_miss_what_one_of_them_misses():
    """So they agree on who speaks, whichever looks first."""
    dog = Watchdog(seconds=600)
    dog.silent = dict.fromkeys(range(3), 0)
    dog.beats = {0: Beat(5, 3, "step 5"), 1: Beat(9, 4, "step 5"), 2: Beat(9, 4, "step 5", "dumped", [0])}
    assert dog.hangs
    assert dog.gone == [0]


def test_a_rank_that_has_left_is_not_missed():
    dog = Watchdog(seconds=600)
    dog.beats = {0: Beat(9, 3, "step 5"), 1: Beat(7, 0, "", "left")}
    assert not dog.hangs
    dog.beats[0] = Beat(9, TURNS, "step 5")
    assert dog.hangs


def test_collectives_wait_three_times_as_long_as_the_watchdog():
    assert time_out(600) == timedelta(minutes=30)
    assert time_out(0) is None
