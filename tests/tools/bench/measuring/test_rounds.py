"""Rounds alternate between cases and drop the first round; ratios are taken within rounds."""

import subprocess
import sys
import time

from viewstream.tools.bench.measuring import rounds
from viewstream.tools.bench.measuring.rounds import compared, costs, in_rounds, processor_seconds, quartiles, ratio


def test_cases_alternate_and_the_warm_up_round_is_dropped():
    calls = []

    def measure(name, number):
        calls.append((name, number))
        return f"{name}{number}"

    assert in_rounds(["a", "b"], 2, measure) == {"a": ["a1", "a2"], "b": ["b1", "b2"]}
    assert calls == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]


def test_costs_are_per_unit(monkeypatch):
    clock = iter(range(0, 1000, 3))  # each reading 3 s after the one before
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(rounds, "processor_seconds", lambda: 0.0)
    monkeypatch.setattr(rounds, "settle", lambda: 0.0)
    assert costs({"a": lambda number: 2}, 2)["a"].wall == [1.5e6, 1.5e6]


def test_a_ratio_is_the_median_of_the_ratios_within_rounds_so_a_slow_round_changes_nothing():
    group = {"cpu": {"floor": [1.0, 10.0, 1.0], "ours": [2.0, 20.0, 2.0]}}
    assert ratio(group, "floor", "ours") == (0.5, 0.5, 0.5)
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)
    assert quartiles([7.0]) == (7.0, 7.0, 7.0)


def test_processor_time_counts_processes_that_were_started_and_have_ended():
    before = processor_seconds()
    subprocess.run([sys.executable, "-c", "sum(range(10**7))"], check=True)
    assert processor_seconds() - before > 0.02


def test_a_group_names_its_floor_and_the_other_programs_that_ran():
    group = compared({"floor": lambda n: 1, "ours": lambda n: 1}, 2, unit="image", floor="floor", peers=("absent",))
    assert (group["unit"], group["floor"], group["peers"]) == ("image", "floor", [])
    assert [len(values) for clock in ("wall", "cpu") for values in group[clock].values()] == [2, 2, 2, 2]
