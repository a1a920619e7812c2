"""`--ranks N`: every rank works, a failure ends all of them, and its words and exit code are those of the program."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("launched.py")


@pytest.fixture
def start(tmp_path):
    """(what the ranks do) -> the program, just started, in a group of processes as a terminal makes one."""
    started = []

    def call(what, **environment):
        env = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")} | environment
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = [sys.executable, str(PROGRAM), what, str(tmp_path)]
        started.append(subprocess.Popen(command, env=env, text=True, start_new_session=True, **pipes))
        return started[-1]

    yield call
    for process in started:
        process.kill()


def pids(folder, count):
    """The process numbers of `count` ranks, once they work."""
    while len(files := list(folder.glob("*.pid"))) < count or not all(file.read_text() for file in files):
        time.sleep(0.01)
    return [int(file.read_text()) for file in files]


def gone(pid):
    """Whether the process ends."""
    for _ in range(3000):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("what", ["one", "both"])
def test_a_mistake_on_a_rank_is_one_line_with_code_2_and_ends_the_others(start, tmp_path, what):
    process = start(what)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (2, "")
    assert err == "error: this cannot be: do it otherwise\n"
    numbers = [file.read_text() for file in tmp_path.glob("*.pid")]
    assert all(gone(int(number)) for number in numbers if number)  # a rank may be ended before it wrote its own


def test_the_trace_of_a_bug_comes_last_with_code_1(start):
    process = start("bug")
    err = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    assert err.splitlines()[-1] == "RuntimeError: a bug of the program"
    assert err.count("Traceback") == 1


def test_a_rank_that_dies_is_named_with_its_signal(start):
    process = start("killed")
    err = process.communicate(timeout=120)[1]
    assert process.returncode == 128 + signal.SIGKILL
    assert err == "error: rank 1 was ended by SIGKILL, perhaps for lack of memory\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_every_rank_once_and_the_program_ends_as_they_do(start, tmp_path, number):
    process = start("signals")
    pids(tmp_path, 2)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    assert process.communicate(timeout=120) == ("", "")
    assert process.returncode == 0
    assert [file.read_text() for file in tmp_path.glob("*.got")] == [str([int(number)])] * 2


def test_ranks_that_are_ended_while_one_waits_for_another_are_one_line(start, tmp_path):
    process = start("collective")
    pids(tmp_path, 2)
    time.sleep(0.2)  # both are in their loop
    process.terminate()
    assert process.communicate(timeout=120) == ("", "error: ended by SIGTERM\n")
    assert process.returncode == 128 + signal.SIGTERM


def test_ranks_end_with_the_program_that_started_them(start, tmp_path):
    process = start("signals")
    ranks = pids(tmp_path, 2)
    process.kill()
    assert all(gone(pid) for pid in ranks)


def test_ranks_wait_without_spinning_and_take_the_number_of_threads_that_the_user_names(start, tmp_path):
    assert start("threads").wait(timeout=120) == 0
    assert [file.read_text() for file in tmp_path.glob("*.got")] == ["None of 2, PASSIVE"] * 2
    assert start("threads", OMP_NUM_THREADS="2", OMP_WAIT_POLICY="ACTIVE").wait(timeout=120) == 0
    assert [file.read_text() for file in tmp_path.glob("*.got")] == ["2 of 2, ACTIVE"] * 2


def test_ranks_below_torchrun_are_refused(start):
    process = start("one", WORLD_SIZE="2", RANK="0")
    err = process.communicate(timeout=120)[1]
    assert process.returncode == 2
    assert "torchrun has started the processes: leave out --ranks" in err


def rows(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.full
def test_two_ranks_train_as_under_torchrun_and_their_mistake_is_one_line(program, words, tmp_path):
    for name, ranks in (("ours", 1), ("torchrun", 2)):
        more = ["--ranks", 2] if ranks == 1 else []
        done = program(*words("moco", "--out", tmp_path / name, *more), ranks=ranks)
        assert done.returncode == 0, done.stderr
    ours, theirs = ([row["loss"] for row in rows(tmp_path / name)] for name in ("ours", "torchrun"))
    assert ours == theirs
    again = program(*words("moco", "--out", tmp_path / "ours", "--ranks", 2))
    assert again.returncode == 2
    assert again.stderr.splitlines()[-1].startswith(f"error: {tmp_path / 'ours'} already holds a run")


def test_two_ranks_train_and_find_each_other_without_a_port(program, words, tmp_path):
    done = program(*words("moco", "--out", tmp_path / "run", "--ranks", 2), MASTER_ADDR="nowhere", MASTER_PORT="1")
    assert done.returncode == 0, done.stderr
    assert "rank 1 of 2" in (tmp_path / "run" / "rank-1.log").read_text()
    assert "loss" in rows(tmp_path / "run")[0]


@pytest.mark.full
def test_under_torchrun_the_words_of_the_program_are_the_last(program, words, tmp_path):
    done = program(*words("moco", "--bn-groups", 3, "--out", tmp_path / "run"), ranks=2)
    *_, last, border = done.stderr.rstrip().splitlines()
    assert set(border) == {"="}
    assert "error on rank" in last
    assert "choose --bn-groups" in last


@pytest.mark.full
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_saves_a_run_of_two_ranks_before_they_end_with_one_line(words, tmp_path, number, code):
    out = tmp_path / "run"
    command = [sys.executable, *words("moco", "--out", out, "--epochs", 500, "--ranks", 2)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT, start_new_session=True, **pipes)
    try:
        while not (out / "log.jsonl").exists() or not rows(out):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        os.killpg(process.pid, number)  # as a terminal does, and a scheduler
        output, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == code, errors
    assert output.splitlines()[-1].endswith("--resume auto continues")
    assert "Traceback" not in errors
    assert torch.load(out / "last.pt", weights_only=True)["step"] == rows(out)[-1]["step"]
