"""The watchdog across two hosts: what hangs ends on both with code 124 and one line that names the silent one.

Where only the launcher of a host can still speak, it waits half a minute for its ranks.
"""

import os
import signal
import time

import pytest

from viewstream.trainers.watchdog import CODE

from ..trainers.small_runs import losses
from .hosts import ended, torchrun, wait_for_step

pytestmark = pytest.mark.full
SECONDS = 5


@pytest.fixture
def job(hosts, training, tmp_path):
    """(node where both meet, more words) -> the processes of a job that trains for long, at its third step."""

    def start(meeting=0, *more):
        out = tmp_path / "run"
        words = training(out, "--epochs", 1000, "--save-every", 2, "--watchdog", SECONDS, *more)
        processes = [torchrun(host, hosts[meeting], *words) for host in hosts]
        wait_for_step(3, out, *processes)
        return processes

    return start


def last_lines(processes):
    """The last line of errors on each host."""
    lines = []
    for code, _, errors in ended(*processes):
        assert code == CODE, errors
        assert "Traceback" not in errors
        lines.append(errors.rstrip().splitlines()[-1])
    return lines


def silent(rank, host, speaker):
    return f"error on rank {speaker}: rank {rank} ({host}) has been silent for {SECONDS} s (stopped, gone, or cut off"


def test_a_cut_network_ends_both_hosts_each_of_which_names_the_other(hosts, job):
    processes = job()
    hosts[1].unplug()
    first, second = last_lines(processes)
    assert first.startswith(silent(1, "node-2", 0))
    assert "rank 0 (node-1) at " in first
    assert second.startswith(silent(0, "node-1", 1))


@pytest.mark.parametrize("meeting", [0, 1])
@pytest.mark.parametrize("stopped", [0, 1])
def test_a_stopped_rank_is_named_on_its_own_host_too(hosts, job, stopped, meeting):
    """Its own launcher sees that the job has ended on the other host, or that the place of the meeting is gone."""
    processes = job(meeting)
    os.kill(hosts[stopped].rank(), signal.SIGSTOP)
    lines = last_lines(processes)
    other, here = 1 - stopped, hosts[stopped].name
    assert lines[other].startswith(silent(stopped, here, other))
    why = "does not answer" if meeting == other else "says that the job has ended on another node"
    assert lines[stopped].startswith(f"error: {hosts[meeting].name}:29500, where the nodes meet, {why}, and the ranks")
    assert f"the ranks of {here} were silent" in lines[stopped]


def test_a_frozen_host_is_named_and_ends_too_once_it_runs_again(hosts, job):
    processes = job()
    hosts[1].signal(signal.SIGSTOP)
    ((code, _, errors),) = ended(processes[0])
    assert code == CODE
    assert errors.rstrip().splitlines()[-1].startswith(silent(1, "node-2", 0))
    hosts[1].signal(signal.SIGCONT)
    ((code, _, errors),) = ended(processes[1])
    assert code
    assert "Traceback" not in errors
    assert "another rank is gone" in errors or silent(0, "node-1", 1) in errors


def test_a_host_that_lags_is_no_hang_and_changes_no_loss(hosts, training, undisturbed, tmp_path):
    out = tmp_path / "run"
    words = training(out, "--epochs", 10, "--save-every", 2, "--watchdog", SECONDS)
    processes = [torchrun(host, hosts[0], *words) for host in hosts]
    wait_for_step(3, out, *processes)
    for _ in range(3):
        hosts[1].signal(signal.SIGSTOP)
        time.sleep(SECONDS / 3)
        hosts[1].signal(signal.SIGCONT)
        time.sleep(0.1)
    for code, _, errors in ended(*processes):
        assert code == 0, errors
    assert losses(out) == losses(undisturbed("--epochs", 10, "--save-every", 2))


def test_with_restarts_left_a_stopped_rank_is_replaced_and_the_losses_repeat(hosts, training, undisturbed, tmp_path):
    out = tmp_path / "run"
    options = ["--epochs", 10, "--save-every", 2, "--resume", "auto", "--watchdog", SECONDS]
    processes = [torchrun(host, hosts[0], *training(out, *options), options=("--max-restarts", 1)) for host in hosts]
    wait_for_step(5, out, *processes)
    os.kill(hosts[1].rank(), signal.SIGSTOP)
    (code, output, errors), (other, _, more) = ended(*processes)
    assert (code, other) == (0, 0), errors + more
    assert silent(1, "node-2", 0) in errors
    assert output.count("from step ") == 2
    assert losses(out) == losses(undisturbed(*options))
