"""Work on a real Ray of two nodes: every result once, through deaths of workers and nodes; errors in one line."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from viewstream.shards.building import cluster as engine
from viewstream.shards.building.cluster import AHEAD, TRIES, on_ray
from viewstream.shards.errors import UserError

from .rays import Work, two_nodes
from .s3 import free_port

PROGRAM = """import sys
from pathlib import Path
from viewstream.shards.building.cluster import on_ray
from viewstream.shards.cli import run
from viewstream.tests.clusters.rays import Work
run(lambda: print(*on_ray(Work(Path(sys.argv[1]), sys.argv[2]), range(4), sys.argv[3], 0)))"""


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray", reason="ray is not installed: the extra 'cluster' brings it")
    with two_nodes() as cluster:
        yield cluster


def quiet(folder):
    """Whether no process notes any more that it is there."""
    for _ in range(100):
        before = sorted((path.name, path.read_text()) for path in folder.glob("beat.*"))
        time.sleep(0.5)
        if before == sorted((path.name, path.read_text()) for path in folder.glob("beat.*")):
            return True
    return False


def wait_for_beats(folder, count):
    until = time.monotonic() + 60
    while len(list(folder.glob("beat.*"))) < count and time.monotonic() < until:
        time.sleep(0.05)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"ray is not installed: pip install 'viewstream\[cluster\]' brings it"):
        list(on_ray(abs, range(3), "", 1))


@pytest.mark.full
def test_two_nodes_give_every_result_once_and_each_worker_takes_the_work_once(cluster, tmp_path):
    shown = []
    results = list(on_ray(Work(tmp_path), range(40), cluster.address, 0, shown.append))
    assert sorted(results) == list(range(40))
    assert all(len(Work(tmp_path).tries(item)) == 1 for item in range(40))
    copies = [path.name.split(".")[1] for path in tmp_path.glob("copy.*")]
    assert len(copies) == len(set(copies)) >= 2
    assert "2 of 2 CPUs on 2 nodes" in shown


@pytest.mark.full
@pytest.mark.parametrize("workers", [0, 1])
def test_the_driver_takes_items_as_their_turn_comes(cluster, tmp_path, workers):
    taken = []
    items = (taken.append(item) or item for item in range(30))
    for done, _ in enumerate(on_ray(Work(tmp_path), items, cluster.address, workers), 1):
        assert len(taken) <= done - 1 + (workers or AHEAD * 2)


@pytest.mark.full
def test_a_ray_of_this_machine_alone_is_started_and_ended(tmp_path):
    pytest.importorskip("ray", reason="ray is not installed: the extra 'cluster' brings it")
    assert sorted(on_ray(Work(tmp_path), range(6), "", 2)) == list(range(6))


@pytest.mark.full
def test_items_whose_workers_die_are_tried_again(cluster, tmp_path):
    work = Work(tmp_path, "dies_once")
    assert sorted(on_ray(work, range(12), cluster.address, 0)) == list(range(12))
    assert [len(work.tries(item)) for item in range(12)] == [2, 1, 1, 1] * 3


@pytest.mark.full
def test_an_item_that_kills_each_of_its_workers_is_named_with_its_last_node(cluster, tmp_path):
    work = Work(tmp_path, "dies")
    with pytest.raises(UserError, match=rf"^3 was tried {TRIES} times, last on node [\d.]+: The worker died"):
        list(on_ray(work, range(5), cluster.address, 0))
    assert len(work.tries(3)) == TRIES


@pytest.mark.full
def test_items_of_a_node_that_is_lost_are_tried_on_another(cluster, tmp_path):
    lost = cluster.add_node(num_cpus=2)
    results, removed = [], threading.Thread(target=cluster.remove_node, args=(lost, False))
    for result in on_ray(Work(tmp_path), range(60), cluster.address, 0):
        results.append(result)
        if len(results) == 10:
            removed.start()
    removed.join()
    assert sorted(results) == list(range(60))


@pytest.mark.full
@pytest.mark.parametrize(
    ("act", "kind", "words"),
    [
        ("refuses", UserError, r"^the image is damaged: mend it$"),
        ("fills", OSError, r"^\[Errno 28\] No space left on device$"),
        (
            "lacks",
            UserError,
            r"^node [\d.]+ lacks a package \(ModuleNotFoundError: No module named 'absent'\): install there",
        ),
    ],
)
def test_what_a_task_raises_is_raised_as_itself(cluster, tmp_path, act, kind, words):
    with pytest.raises(kind, match=words) as caught:
        list(on_ray(Work(tmp_path, act), range(8), cluster.address, 0))
    assert type(caught.value) is kind


@pytest.mark.full
def test_a_node_without_this_package_is_named(cluster, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "viewstream.py").write_text("raise ModuleNotFoundError(\"No module named 'viewstream'\")")
    bare = cluster.add_node(num_cpus=2)
    monkeypatch.undo()
    try:
        words = (
            r"^node [\d.]+ lacks a package \(ModuleNotFoundError: No module named 'viewstream'\): install there what"
        )
        with pytest.raises(UserError, match=words):
            list(on_ray(Work(tmp_path), range(40), cluster.address, 0))
    finally:
        cluster.remove_node(bare)


@pytest.mark.full
def test_no_task_runs_on_after_an_early_close(cluster, tmp_path):
    with closing(on_ray(Work(tmp_path, "goes_on"), range(4), cluster.address, 0)) as results:
        assert next(results) == 0
        wait_for_beats(tmp_path, 1)
    assert quiet(tmp_path)


@pytest.mark.full
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
@pytest.mark.parametrize("local", [False, True])
def test_no_task_runs_on_after_ctrl_c_or_a_killed_driver(cluster, tmp_path, number, code, local):
    words = [sys.executable, "-c", PROGRAM, tmp_path, "goes_on", "" if local else cluster.address]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    driver = subprocess.Popen(words, start_new_session=True, **streams)
    wait_for_beats(tmp_path, 2)
    (os.killpg if number == signal.SIGINT else os.kill)(driver.pid, number)  # a terminal sends it to the whole group
    text, _ = driver.communicate(timeout=120)
    assert (driver.returncode, text) == (code, "interrupted\n" if code == 130 else "")
    assert quiet(tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("listens", [False, True])
def test_an_address_that_does_not_answer_ends_in_one_line_after_the_stated_time(monkeypatch, listens):
    pytest.importorskip("ray", reason="ray is not installed: the extra 'cluster' brings it")
    monkeypatch.setattr(engine, "ANSWER", 5)
    port = free_port()
    with socket.socket() as silent:
        if listens:
            silent.bind(("127.0.0.1", port))
            silent.listen()
        words = rf"^no Ray cluster has answered at 127.0.0.1:{port} in 5 seconds: see `ray status`, and run the build"
        with pytest.raises(UserError, match=words):
            list(on_ray(abs, range(3), f"127.0.0.1:{port}", 0))


@pytest.mark.full
@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "nonsense"])
def test_an_address_that_is_none_is_refused(address):
    pytest.importorskip("ray", reason="ray is not installed: the extra 'cluster' brings it")
    with pytest.raises(UserError, match=address):
        list(on_ray(abs, range(3), address, 0))


@pytest.mark.full
def test_a_cluster_without_cpus_is_refused(tmp_path):
    pytest.importorskip("ray", reason="ray is not installed: the extra 'cluster' brings it")
    from ray.cluster_utils import Cluster

    bare = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        with pytest.raises(UserError, match="has no CPUs: `ray start --address HEAD:6379` adds a node"):
            list(on_ray(Work(tmp_path), range(3), bare.address, 0))
    finally:
        bare.shutdown()
