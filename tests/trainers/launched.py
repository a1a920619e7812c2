"""A program for tests of `launch`: what each of two ranks does is chosen by the first word."""

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

from viewstream.shards.cli import run
from viewstream.shards.errors import UserError
from viewstream.trainers.launch import launch


def work(what: str, folder: Path) -> None:
    rank, lock = int(os.environ["RANK"]), multiprocessing.RLock()  # progress bars have one
    if what == "signals":
        got: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: got.append(number))
        (folder / f"{rank}.pid").write_text(str(os.getpid()))
        while not got:
            time.sleep(0.01)
        time.sleep(0.3)  # a second one would come now
        (folder / f"{rank}.got").write_text(str(got))
        return
    if what == "threads":
        late = " set too late" * ("torch" in sys.modules)
        number, waits = os.environ.get("OMP_NUM_THREADS"), os.environ["OMP_WAIT_POLICY"]
        (folder / f"{rank}.got").write_text(f"{number} of {os.environ['WORLD_SIZE']}, {waits}{late}")
        return
    if what == "collective":
        collective(rank, folder)
    with lock:
        fail(rank, what, folder)


def collective(rank: int, folder: Path) -> None:
    """Rank 1 waits for rank 0 in machine code, which no signal handler interrupts, and fails if that is gone."""
    if rank == 1:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    (folder / f"{rank}.pid").write_text(str(os.getpid()))
    peer = folder / "0.pid"
    while rank == 0 or not peer.exists() or not peer.read_text() or Path("/proc", peer.read_text()).exists():
        time.sleep(0.01)
    raise RuntimeError("connection closed by peer")


def fail(rank: int, what: str, folder: Path) -> None:
    if rank == 0 and what != "both":
        (folder / f"{rank}.pid").write_text(str(os.getpid()))
        time.sleep(600)  # as in a collective that never ends
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "bug":
        raise RuntimeError("a bug of the program")
    raise UserError("this cannot be: do it otherwise")


def main() -> None:
    launch(work, sys.argv[1], Path(sys.argv[2]), ranks=2)


if __name__ == "__main__":
    run(main)
