"""Programs on a disk that fails at the N-th operation, or whose operations are written down: below shim.c."""

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

HERE = Path(__file__).parent
RECORD = struct.Struct("=qqqHHc3x")


class Operation(NamedTuple):
    """One change below the root: w write, s sync, S of everything, t truncate, c create, r rename, l link, u unlink,
    m mkdir."""

    kind: str
    inode: int
    offset: int
    first: str
    second: str
    data: bytes


class Answer(NamedTuple):
    """How a program ended: its code, the operations that it did, what it printed."""

    code: int
    count: int
    text: str


def operations(trace: Path) -> list[Operation]:
    """What shim.c has written down."""
    raw, at, found = trace.read_bytes(), 0, []
    while at < len(raw):
        inode, offset, size, first, second, kind = RECORD.unpack_from(raw, at)
        at += RECORD.size
        ends = [at + first, at + first + second, at + first + second + size]
        names = raw[at : ends[0]].decode(), raw[ends[0] : ends[1]].decode()
        found.append(Operation(kind.decode(), inode, offset, *names, raw[ends[1] : ends[2]]))
        at = ends[2]
    return found


def compiled() -> Path:
    """The library of shim.c, compiled once; the test is skipped where no compiler is."""
    source = (HERE / "shim.c").read_bytes()
    library = Path(tempfile.gettempdir()) / f"viewstream-shim-{hashlib.sha256(source).hexdigest()[:16]}.so"
    if not library.exists():
        if not sys.platform.startswith("linux") or not (compiler := shutil.which("cc")):
            pytest.skip("shim.c needs Linux and a C compiler, cc")
        partial = library.with_suffix(f".{os.getpid()}")
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", partial, HERE / "shim.c", "-ldl", "-lpthread"]
        subprocess.run([*map(str, command)], check=True)
        partial.replace(library)
    return library


@dataclass(frozen=True)
class Disk:
    """Runs programs in `root`, whose changes are seen."""

    root: Path
    server: Any

    def run(self, argv: list[str], *, fail: int = 0, error: int = 0, sticky: bool = False, trace: str = "") -> Answer:
        """`python argv` in the root; operation number `fail` ends with `error`, and with `sticky` all after it."""
        output = f"{self.root}.output"
        job = {"argv": argv, "cwd": str(self.root), "output": output, "root": str(self.root)}
        job |= {"fail": fail, "error": error, "sticky": int(sticky), "trace": trace}
        self.server.stdin.write(json.dumps(job) + "\n")
        self.server.stdin.flush()
        answer = json.loads(self.server.stdout.readline())
        return Answer(answer["code"], answer["count"], Path(output).read_text(errors="replace"))

    def traced(self, argv: list[str]) -> tuple[Answer, list[Operation]]:
        """The same with all that it changed."""
        trace = f"{self.root}.trace"
        return self.run(argv, trace=trace), operations(Path(trace))


@contextmanager
def disk(root: Path) -> Iterator[Disk]:
    """A disk at the folder `root`, which is made."""
    root.mkdir(parents=True)
    environment = {**os.environ, "LD_PRELOAD": str(compiled()), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=HERE.parents[1],
    )
    with server:
        assert server.stdout
        assert server.stdout.readline() == "ready\n"
        yield Disk(root.resolve(), server)
        assert server.stdin
        server.stdin.close()


def tree(root: Path) -> dict[str, bytes | None]:
    """Names below `root`, with the bytes of files; None for folders."""
    return {str(p.relative_to(root)): None if p.is_dir() else p.read_bytes() for p in sorted(root.rglob("*"))}


def restore(root: Path, content: dict[str, bytes | None]) -> None:
    """Let `root` hold this and nothing else."""
    for path in root.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for name, data in content.items():
        if data is None:
            (root / name).mkdir(parents=True, exist_ok=True)
        else:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
