"""A Ray of two nodes on this machine, one CPU each, and work that tests can follow."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from viewstream.shards.errors import UserError


@contextmanager
def two_nodes() -> Iterator[Any]:
    """A cluster whose head and second node are processes of their own; what they need of the environment is set."""
    from ray.cluster_utils import Cluster

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
