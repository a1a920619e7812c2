"""Programs in processes that are forked from this one, which has imported their packages: a program begins at once, so
a signal hits its work and costs a second. Processes that a program starts are forked too, where they would be spawned.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from viewstream.shards.cli import run

POLL = 0.002  # seconds
PATIENCE = 120  # seconds after which a program hangs
TICK = os.sysconf("SC_CLK_TCK")
ARROW = "jemalloc_bg_thd"  # the thread of an allocator that looks after itself in forked processes
FORK = multiprocessing.get_context("fork")


def with_one_thread() -> None:
    """Start this program again with OMP_NUM_THREADS=1, unless it has that: numpy and torch read it when they are
    imported, and a program that is forked waits for ever for what a thread of theirs holds."""
    if os.environ.get("OMP_NUM_THREADS") != "1":
        os.environ["OMP_NUM_THREADS"] = "1"
        os.execv(sys.executable, sys.orig_argv)


class Program:
    """`main()` with the words of a command line, in `folder`, as leader of a session; `text()` is what it printed."""

    def __init__(self, main: Callable[[], object], words: list[str], folder: Path):
        names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
        others = [name for name in names if name != ARROW][1:]
        assert not others, f"threads {others} would hold their locks for ever in a process forked from this one"
        descriptor, name = tempfile.mkstemp(prefix="printed-")
        os.close(descriptor)
        self.printed, self.shared = Path(name), set[str]()
        self.process = FORK.Process(target=_begin, args=(main, words, folder, self.printed))
        self.process.start()
        assert self.process.pid
        self.pid: int = self.process.pid
        while self.process.is_alive() and os.getsid(self.pid) != self.pid:
            time.sleep(POLL)

    def text(self) -> str:
        return self.printed.read_text(errors="replace")

    def members(self, group: bool = False) -> list[int]:
        """Living processes of the session, also those that have lost their parent, or of the leader's group alone."""
        field = 2 if group else 3
        return [pid for pid, fields in _processes() if int(fields[field]) == self.pid and fields[0] not in "ZX"]

    def spent(self) -> float:
        """Seconds of processor time of the program and its children, which depend less on other programs than its
        duration."""
        found, ticks = [self.pid], 0
        for pid in found:
            try:
                fields = _fields(Path(f"/proc/{pid}/stat"))
                for task in Path(f"/proc/{pid}/task").iterdir():
                    found += map(int, (task / "children").read_text().split())
            except OSError:  # it has just ended
                continue
            ticks += sum(map(int, fields[11:15]))
        return ticks / TICK

    def reach(self, moment: Callable[[], bool], more: float) -> bool:
        """Wait for a moment and `more` seconds; whether the program still runs then."""
        until = time.monotonic() + PATIENCE
        while self.process.is_alive() and not moment() and time.monotonic() < until:
            time.sleep(POLL)
        self.process.join(more)
        return self.process.is_alive()

    def send(self, number: int, *pids: int) -> None:
        """A signal to processes of the program, all of them if none is named."""
        self.shared |= {path for pid in self.members() for path in _shared_memory(pid)}
        for pid in pids or self.members():  # none that has ended
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def end(self) -> int | None:
        """Wait for the end; the exit code, None for a program that hangs, which is killed."""
        self.process.join(PATIENCE)
        code = self.process.exitcode
        if code is None:
            self.send(signal.SIGKILL)
            self.process.join()
        return code

    def left(self) -> list[str]:
        """What the program has left on the machine 10 seconds after its end: processes and shared memory."""
        until = time.monotonic() + 10
        while (pids := self.members()) and time.monotonic() < until:
            time.sleep(0.02)
        self.send(signal.SIGKILL)
        files = [path for path in sorted(self.shared) if Path(path).exists()]
        self.printed.unlink()
        return [f"process {pid}" for pid in pids] + files


def _begin(main: Callable[[], object], words: list[str], folder: Path, printed: Path) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with printed.open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    multiprocessing.get_context = lambda *_: FORK
    os.chdir(folder)
    sys.argv = ["program", *words]
    run(partial(_interruptible, main))


def _interruptible(main: Callable[[], object]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()


def _processes() -> Iterator[tuple[int, list[str]]]:
    for path in Path("/proc").glob("[0-9]*"):
        try:
            yield int(path.name), _fields(path / "stat")
        except OSError:  # it has just ended
            continue


def _fields(stat: Path) -> list[str]:
    """The fields of a process after its name, which may hold spaces: state, parent, group, session, ..."""
    return stat.read_text().rpartition(") ")[2].split()


def _shared_memory(pid: int) -> set[str]:
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:
        return set()
    return {line[line.index("/dev/shm/") :] for line in lines if "/dev/shm/" in line and "(deleted)" not in line}
