"""Two hosts train as one does: equal losses, restarts after the loss of a node and on fewer nodes, folders not shared.

Each host is a network namespace (hosts.py); torchrun starts one rank on each.
"""

import os
import shutil
import signal
import sys

import pytest
import torch

from ..trainers.small_runs import losses, rows
from ..trainers.training.resuming import assert_same
from .hosts import CABLE, ended, torchrun, two_hosts, wait_for_step

pytestmark = pytest.mark.full
LONG = ["--epochs", 10, "--save-every", 2, "--resume", "auto"]  # 60 steps


def end_of(folder):
    return torch.load(folder / "last.pt", weights_only=True)


def test_two_nodes_with_one_rank_each_train_as_one_node_with_two_ranks(hosts, training, undisturbed, tmp_path):
    out = tmp_path / "run"
    for code, _, errors in ended(*(torchrun(host, hosts[0], *training(out)) for host in hosts)):
        assert code == 0, errors
        assert "Exception" not in errors  # torch shows its own where a connection ends with the job
    assert_same(out, undisturbed())
    files = {"config.json", "last.pt", "log.jsonl", "rank-0.log", "rank-1.log"}
    assert {path.name for path in out.iterdir()} == files


def test_a_node_that_dies_and_comes_back_goes_on_from_the_checkpoint(hosts, training, undisturbed, tmp_path):
    out = tmp_path / "run"
    first, second = hosts
    options = ("--max-restarts", 3)
    stays = torchrun(first, first, *training(out, *LONG), options=options)
    lost = torchrun(second, first, *training(out, *LONG), options=options)
    wait_for_step(5, out, stays, lost)
    second.signal(signal.SIGKILL)
    lost.communicate()
    back = torchrun(second, first, *training(out, *LONG), options=options)
    (code, output, errors), (other, _, more) = ended(stays, back)
    assert (code, other) == (0, 0), errors + more
    assert "from step 0 of 60" in output
    assert output.count("from step ") == 2
    assert "error on rank 0: another rank is gone (" in errors
    assert "Traceback" not in errors
    whole = undisturbed(*LONG)
    assert losses(out) == losses(whole)
    assert [row["step"] for row in rows(out)] == [*range(1, 61)]
    a, b = end_of(out)["method"], end_of(whole)["method"]
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_where_fewer_nodes_will_do_the_others_go_on_without_one_that_dies(hosts, training, undisturbed, tmp_path):
    """With the images of an undisturbed run: the shuffled order of all steps, and losses equal up to rounding."""
    out = tmp_path / "run"
    first, second = hosts
    options = {"nnodes": "1:2", "options": ("--max-restarts", 3, "--rdzv-conf", "last_call_timeout=5")}
    stays, lost = (torchrun(host, first, *training(out, *LONG), **options) for host in hosts)
    wait_for_step(5, out, stays, lost)
    before = losses(out)
    second.signal(signal.SIGKILL)
    lost.communicate()
    ((code, output, errors),) = ended(stays)
    assert code == 0, errors
    assert "note: saved with world 2, now 1: same ids and draws" in output
    whole = losses(undisturbed(*LONG))
    assert losses(out).keys() == whole.keys()
    saved = 4
    assert {step: losses(out)[step] for step in range(1, saved + 1)} == {s: before[s] for s in range(1, saved + 1)}
    near = range(saved + 1, saved + 5)  # rounding grows with the steps
    assert [losses(out)[step] for step in near] == pytest.approx([whole[step] for step in near], rel=1e-3)


def test_a_run_of_two_nodes_that_is_stopped_goes_on_on_one(hosts, training, undisturbed, tmp_path):
    out = tmp_path / "run"
    processes = [torchrun(host, hosts[0], *training(out, *LONG)) for host in hosts]
    wait_for_step(5, out, *processes)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for code, _, errors in ended(*processes):
        assert code == 0, errors
    step = end_of(out)["step"]
    assert 5 <= step < 60
    ((code, output, errors),) = ended(hosts[1].start(sys.executable, *training(out, *LONG)))
    assert code == 0, errors
    assert "note: saved with world 2, now 1: same ids and draws" in output
    whole = losses(undisturbed(*LONG))
    assert {s: loss for s, loss in losses(out).items() if s <= step} == {s: whole[s] for s in range(1, step + 1)}
    assert losses(out)[step + 1] == pytest.approx(whole[step + 1], rel=1e-3)


def test_the_end_of_the_node_where_the_nodes_meet_ends_the_others_in_one_line(hosts, training, tmp_path):
    out = tmp_path / "run"
    processes = [torchrun(host, hosts[0], *training(out, *LONG), options=("--max-restarts", 3)) for host in hosts]
    wait_for_step(3, out, *processes)
    hosts[0].signal(signal.SIGKILL)
    (code, _, _), (other, _, errors) = ended(*processes)
    assert (code, other) == (-signal.SIGKILL, 2)
    assert errors.splitlines()[-1].startswith("error: the nodes did not meet at node-1:29500 (")
    assert "Traceback" not in errors


def test_a_folder_that_is_not_shared_is_noted_and_no_run_parts_at_its_restart(hosts, training, tmp_path):
    disks = [tmp_path / host.name for host in hosts]
    for disk in disks:
        disk.mkdir()

    def train(*more):
        pairs = zip(hosts, disks, strict=True)
        return ended(*(torchrun(host, hosts[0], *training("run", *more), cwd=disk) for host, disk in pairs))

    (code, output, errors), (other, _, _) = train("--epochs", 1)
    assert (code, other) == (0, 0), errors
    assert "note: run is not the same on node-1 and node-2: a restart needs its last.pt on every machine" in output
    for code, _, errors in train("--epochs", 1, "--resume", "auto"):
        assert code == 2
        assert "run/last.pt is on node-1 and not on node-2, so the ranks would part: name a shared folder" in errors
        assert "Traceback" not in errors
    shutil.copy(disks[0] / "run/last.pt", disks[1] / "run/last.pt")
    for code, _, errors in train("--epochs", 1, "--resume", "auto"):
        assert code == 0, errors


def test_a_mistake_ends_both_nodes_with_its_words(hosts, training, tmp_path):
    processes = [torchrun(host, hosts[0], *training(tmp_path / "run", "--bn-groups", 3)) for host in hosts]
    for code, _, errors in ended(*processes):
        assert code == 2
        assert "choose --bn-groups" in errors
        assert "Traceback" not in errors


def test_hosts_whose_own_name_is_a_loopback_address_need_the_name_of_their_network(training, tmp_path):
    """As Debian sets them up. Without the name the error says what to set."""
    with two_hosts(tmp_path, own="127.0.1.1") as hosts:
        for code, _, errors in ended(*(torchrun(host, hosts[0], *training(tmp_path / "run")) for host in hosts)):
            assert code == 2
            assert "GLOO_SOCKET_IFNAME" in errors
            assert "Traceback" not in errors
        environment = os.environ | {"GLOO_SOCKET_IFNAME": CABLE}
        again = (torchrun(host, hosts[0], *training(tmp_path / "run"), env=environment) for host in hosts)
        for code, _, errors in ended(*again):
            assert code == 0, errors
