"""Two hosts on this machine: network namespaces joined by a cable (veth), each with a name and an address of its own.

Host names and /etc/hosts are those of a real pair. The disk is shared, as between the nodes of a cluster.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ..trainers.training.resuming import reached

ROOT = Path(__file__).parents[2]
CABLE = "eth0"  # on both hosts
# The name and the names of all hosts are those of this process alone and of what it starts.
ENTER = 'hostname "$1" && mount --bind "$2" /etc/hosts && shift 2 && exec "$@"'


@dataclass(frozen=True)
class Host:
    """One of the two: its name, its address, the namespace, and the file of names."""

    name: str
    address: str
    space: str
    names: Path

    @property
    def enter(self) -> list[str]:
        """The words before a command that runs here. The process that starts them becomes the command."""
        space = ["ip", "netns", "exec", self.space, "unshare", "--uts", "--mount"]
        return [*space, "sh", "-c", ENTER, "sh", self.name, str(self.names)]

    def start(self, *words: object, **options: Any) -> subprocess.Popen[str]:
        """A command on this host, just started; its output is kept."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([*self.enter, *map(str, words)], **pipes | options)

    def pids(self) -> list[int]:
        """The numbers of all processes here."""
        found = subprocess.run(["ip", "netns", "pids", self.space], capture_output=True, text=True)
        return [int(number) for number in found.stdout.split()]

    def rank(self) -> int:
        """The number of the process that trains here."""
        lines = {pid: Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in self.pids()}
        (found,) = (
            pid
            for pid, words in lines.items()
            if len(words) > 2 and words[1] == "-u" and words[2].endswith("trainers/train.py")
        )
        return found

    def signal(self, number: int) -> None:
        """Send a signal to all processes here, as a node that loses its power (SIGKILL) or freezes (SIGSTOP)."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def unplug(self) -> None:
        """Cut the network."""
        _ip("-n", self.space, "link", "set", CABLE, "down")


@contextmanager
def two_hosts(folder: Path, *, own: str = "") -> Iterator[tuple[Host, Host]]:
    """Both hosts within the block; afterwards they are gone, with all that runs there. Skips the test where this
    machine cannot have them. `folder` takes the files of names; `own`: the address that each host has its name for."""
    if not shutil.which("ip"):
        pytest.skip("no ip: the Debian package iproute2 has it")
    spaces = [f"viewstream-{os.getpid()}-{n}" for n in (1, 2)]
    pair = [Host(f"node-{n}", f"10.19.0.{n}", spaces[n - 1], folder / f"hosts-{n}") for n in (1, 2)]
    one, two = pair
    for host in pair:
        lines = [f"{own if own and other is host else other.address} {other.name}\n" for other in pair]
        host.names.write_text("127.0.0.1 localhost\n" + "".join(lines))
    try:
        for host in (one, two):
            _ip("netns", "add", host.space)
        _ip("link", "add", CABLE, "netns", one.space, "type", "veth", "peer", "name", CABLE, "netns", two.space)
        for host in (one, two):
            _ip("-n", host.space, "address", "add", f"{host.address}/24", "dev", CABLE)
            for link in ("lo", CABLE):
                _ip("-n", host.space, "link", "set", link, "up")
    except subprocess.CalledProcessError as error:
        _remove(one, two)
        pytest.skip(f"no network namespaces here, which take root: {error.stderr.strip()}")
    try:
        yield one, two
    finally:
        _remove(one, two)


def _remove(*hosts: Host) -> None:
    for host in hosts:
        host.signal(signal.SIGKILL)
        subprocess.run(["ip", "netns", "delete", host.space], capture_output=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def launcher(meeting: str, *, nnodes: object = 2, options: Sequence[object] = ()) -> list[str]:
    """The words that start one rank of a program on each node; the nodes meet at the one of a name."""
    words = [sys.executable, ROOT / "trainers/torchrun.py", "--nnodes", nnodes, *options, "--nproc-per-node", 1]
    return [*map(str, words), "--rdzv-backend", "c10d", "--rdzv-endpoint", f"{meeting}:29500"]


def torchrun(
    host: Host, meeting: Host, *program: object, nnodes: object = 2, options: Sequence[object] = (), **more: Any
) -> subprocess.Popen[str]:
    """A program on one rank of a host, just started."""
    return host.start(*launcher(meeting.name, nnodes=nnodes, options=options), *program, **more)


def ended(*processes: subprocess.Popen[str], seconds: float = 300) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each process."""
    words = [process.communicate(timeout=seconds) for process in processes]
    return [(process.returncode, *text) for process, text in zip(processes, words, strict=True)]


def wait_for_step(step: int, folder: Path, *processes: subprocess.Popen[str]) -> None:
    """Wait until a step of a run is logged and its first checkpoint is there."""
    while not (reached(folder, step) and (folder / "last.pt").exists()):
        for process in processes:
            assert process.poll() is None, process.communicate()
        time.sleep(0.02)
