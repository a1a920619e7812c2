"""Cases of programs that measure, and made-up figures."""

import importlib
from pathlib import Path

import pytest

ON = {"cpu": "some processor", "cores": 2, "python": "3.13", "versions": {"torch": "2.6"}, "commit": "abc", "code": "c"}


@pytest.fixture
def cases(monkeypatch):
    """Cases that a process of its own can import, which gets the path of this one."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("bench_cases")


def group(**cpu):
    """Made-up figures of a loader group: wall times are twice the processor times."""
    wall = {name: [2 * us for us in values] for name, values in cpu.items()}
    peers = [name for name in cpu if name not in ("floor", "ours")]
    figures = {"unit": "image", "floor": "floor", "peers": peers, "antialiased": peers[:1], "stock": peers[1:]}
    figures |= {"left_out": {"litdata": "it needs litdata"}, "threads": 2, "images": "generated images"}
    return figures | {"cpu": cpu, "wall": wall, "on": ON | {"others": 0.25, "seconds": 9.0}}


@pytest.fixture
def loader():
    """A part of one group: ours at 0.8 of the floor, 2 times as fast as an antialiased peer, 3 times as a stock one."""
    return {
        "two views": group(
            floor=[80.0, 88.0, 80.0],
            ours=[100.0, 110.0, 100.0],
            good=[200.0, 220.0, 200.0],
            aliased=[300.0, 330.0, 300.0],
        )
    }
