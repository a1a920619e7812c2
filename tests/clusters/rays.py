"""A Ray of two nodes on this machine, one CPU each, work that tests can follow, and what may befall a build."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from viewstream.shards.building.folder import BUILDING
from viewstream.shards.building.target import target
from viewstream.shards.errors import UserError


@contextmanager
def two_nodes() -> Iterator[Any]:
    """A cluster whose head and second node are processes of their own; what they need of the environment is set."""
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_worker_niceness", "0")  # else workers wait for all other tests of a busy machine
    cluster = Cluster()
    try:
        cluster.add_node(num_cpus=1, include_dashboard=False)
        cluster.add_node(num_cpus=1)
        yield cluster
    finally:
        cluster.shutdown()


class Work:
    """Notes each call in a folder as ITEM.PROCESS, and each copy of itself; `act` does what its name says."""

    def __init__(self, folder: Path, act: str = "ends"):
        self.folder, self.act = folder, act

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        (self.folder / f"copy.{os.getpid()}.{time.monotonic_ns()}").touch()

    def __call__(self, item: int) -> int:
        (self.folder / f"{item}.{os.getpid()}").touch()
        getattr(self, self.act)(item)
        return item

    def ends(self, item: int) -> None:
        time.sleep(0.05)

    def dies(self, item: int) -> None:
        """Item 3, at every try."""
        if item == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    def dies_once(self, item: int) -> None:
        """Every fourth item, at its first try."""
        if item % 4 == 0 and len(self.tries(item)) == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def refuses(self, item: int) -> None:
        if item == 3:
            raise UserError("the image is damaged: mend it")

    def fills(self, item: int) -> None:
        with open("/dev/full", "w") as file:
            file.write("x")

    def lacks(self, item: int) -> None:
        raise ModuleNotFoundError("No module named 'absent'", name="absent")

    def goes_on(self, item: int) -> None:
        """All but item 0, for a minute, and notes that it is there."""
        for _ in range(600 if item else 0):
            (self.folder / f"beat.{os.getpid()}").write_text(str(time.monotonic()))
            time.sleep(0.1)

    def tries(self, item: int) -> list[Path]:
        return list(self.folder.glob(f"{item}.*"))


def working() -> list[int]:
    """Processes that work on a task: children of nodes, which are children of this process."""
    found = [os.getpid()]
    for pid in found:
        with suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return [pid for pid in found if b"ray::_worked" in _command(pid)]


def _command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def kill_worker(cluster: Any, driver: "subprocess.Popen[str]", rng: random.Random) -> None:
    if found := working():  # else all are between two tasks
        with suppress(ProcessLookupError):
            os.kill(rng.choice(found), signal.SIGKILL)


def lose_node(cluster: Any, driver: "subprocess.Popen[str]", rng: random.Random) -> None:
    """The second node is lost, and another one joins."""
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    cluster.add_node(num_cpus=1)


def kill_driver(cluster: Any, driver: "subprocess.Popen[str]", rng: random.Random) -> None:
    driver.kill()


FAULTS = {
    "SIGKILL of a worker": kill_worker,
    "loss of a node": lose_node,
    "SIGKILL of the driver": kill_driver,
}


def started(command: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(out: str) -> int:
    """How many units of a build have a record."""
    with suppress(FileNotFoundError):
        return sum(name.endswith(".parquet") for name in target(out).names(BUILDING))
    return 0


def wait_for(moment: int, out: str, driver: "subprocess.Popen[str]") -> bool:
    """Wait until a number of units is finished; whether the build still runs then."""
    while finished(out) < moment and driver.poll() is None:
        time.sleep(0.02)
    return driver.poll() is None
