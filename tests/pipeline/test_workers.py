"""The number of threads: cores that a process may use, threads that settle, a gate that lets only so many in."""

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from viewstream.pipeline.workers import Gate, Workers, share_of_cores
from viewstream.shards.engine import cores


def test_cores_follow_the_quota_of_the_container(tmp_path):
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert cores(tmp_path) == min(2, cores(tmp_path / "absent"))
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert cores(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cores(tmp_path) == cores(tmp_path / "absent")
    old = tmp_path / "v1" / "cpu"
    old.mkdir(parents=True)
    (old / "cpu.cfs_quota_us").write_text("100000\n")
    (old / "cpu.cfs_period_us").write_text("100000\n")
    assert cores(tmp_path / "v1") == 1


def test_ranks_of_a_machine_share_its_cores(monkeypatch):
    alone = share_of_cores()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1000")
    assert share_of_cores() == 1
    assert alone == cores()


@pytest.mark.parametrize(("rates", "taken"), [((10, 20, 20.1), 1), ((10, 20, 40), 2), ((20, 10, 5), 0)])
def test_threads_settle_on_the_fewest_that_are_fast_enough(monkeypatch, rates, taken):
    monkeypatch.setattr("viewstream.pipeline.workers.share_of_cores", lambda: 4)
    workers, clock, candidates = Workers(), count(1), [2, 4, 8]
    monkeypatch.setattr(workers.gate, "busy", lambda: next(clock))  # a second passes between two calls
    while not workers.settled:
        workers.done(rates[candidates.index(workers.gate.limit)])
    assert workers.gate.limit == candidates[taken]
    assert Workers(3).settled


def test_a_gate_lets_no_more_threads_in_than_it_may():
    gate, inside, peak = Gate(2), [0], [0]

    def visit(_):
        with gate:
            inside[0] += 1
            peak[0] = max(peak[0], inside[0])
            time.sleep(0.002)
            inside[0] -= 1

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(visit, range(20)))
        assert peak[0] == 2
        gate.set(5)
        list(pool.map(visit, range(40)))
    assert 2 < peak[0] <= 5
    assert gate.busy() > 0
