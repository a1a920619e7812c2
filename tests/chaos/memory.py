"""A disk and its cache in memory: what a trace of operations leaves there, and what of it a power cut leaves."""

import random
from dataclasses import dataclass, field
from pathlib import Path

from .disk import Operation

Change = tuple[tuple[int, str, int | None], ...]  # (folder, name, node or None) at once


@dataclass
class Node:
    """A file: its bytes, and those on the disk; or a folder: its names, and those on the disk."""

    is_folder: bool
    data: bytearray = field(default_factory=bytearray)
    safe: bytes = b""
    since: list[tuple[int, bytes | None]] = field(default_factory=list)  # what was written after
    names: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)


class Memory:
    """Begins with `content` on the disk, as `tree` gives it; `do` repeats operations of programs in `root`."""

    def __init__(self, root: Path, content: dict[str, bytes | None]):
        self.root, self.nodes = str(root), [Node(is_folder=True)]
        self.inodes: dict[int, int] = {}  # of the trace -> node
        self.pending: list[Change] = []
        for name, data in sorted(content.items()):
            self._add(name, Node(data is None, bytearray(data or b"")))
        self._sync_all()

    def do(self, operation: Operation) -> None:
        """Repeat an operation."""
        kind, inode, offset, first, second, data = operation
        first, second = (name.removeprefix(self.root).lstrip("/") for name in (first, second))
        if kind in "cm":
            self.inodes[inode] = self._add(first, Node(kind == "m"))
        elif kind == "r":
            self._change((*self._place(first), None), (*self._place(second), self._node(first)))
        elif kind == "l":
            self._change((*self._place(second), self._node(first)))
        elif kind == "u":
            self._change((*self._place(first), None))
        elif kind == "S":
            self._sync_all()
        else:
            number = self.inodes.setdefault(inode, self._node(first)) if kind != "s" or inode in self.inodes else None
            self._on_file(kind, self._node(first) if number is None else number, offset, data)

    def seen(self) -> dict[str, bytes | None]:
        """What programs see now."""
        return self._walk({n: node.names for n, node in enumerate(self.nodes)}, [bytes(n.data) for n in self.nodes])

    def after_a_cut(self, part: random.Random | bool) -> dict[str, bytes | None]:
        """What a power cut leaves: with all that is not synced (True), without it (False), or with a drawn part."""
        names = {n: {**node.kept} for n, node in enumerate(self.nodes)}
        for change in self.pending:
            if part is True or (part and part.random() < 0.5):
                _apply(change, names)
        return self._walk(names, [_left(node, part) for node in self.nodes])

    def _on_file(self, kind: str, number: int, offset: int, data: bytes) -> None:
        node = self.nodes[number]
        if kind == "s" and node.is_folder:
            own = [change for change in self.pending if change[-1][0] == number]
            self._keep(own)
        elif kind == "s":
            node.safe, node.since = bytes(node.data), []
        else:
            node.since.append((offset, None if kind == "t" else data))
            _write(node.data, *node.since[-1])

    def _sync_all(self) -> None:
        self._keep(self.pending)
        for node in self.nodes:
            node.safe, node.since = bytes(node.data), []

    def _keep(self, changes: list[Change]) -> None:
        for change in changes:
            _apply(change, {n: node.kept for n, node in enumerate(self.nodes)})
        self.pending = [change for change in self.pending if change not in changes]

    def _add(self, name: str, node: Node) -> int:
        self.nodes.append(node)
        self._change((*self._place(name), len(self.nodes) - 1))
        return len(self.nodes) - 1

    def _change(self, *parts: tuple[int, str, int | None]) -> None:
        _apply(parts, {n: node.names for n, node in enumerate(self.nodes)})
        self.pending.append(parts)

    def _place(self, name: str) -> tuple[int, str]:
        folder, _, last = name.rpartition("/")
        return self._node(folder), last

    def _node(self, name: str) -> int:
        number = 0
        for part in filter(None, name.split("/")):
            number = self.nodes[number].names[part]
        return number

    def _walk(self, names: dict[int, dict[str, int]], data: list[bytes]) -> dict[str, bytes | None]:
        found: dict[str, bytes | None] = {}
        waiting = [("", 0)]
        while waiting:
            at, number = waiting.pop()
            for name, child in names[number].items():
                is_folder = self.nodes[child].is_folder
                found[at + name] = None if is_folder else data[child]
                if is_folder:
                    waiting.append((f"{at}{name}/", child))
        return dict(sorted(found.items()))


def _apply(change: Change, names: dict[int, dict[str, int]]) -> None:
    for folder, name, node in change:
        if node is None:
            names[folder].pop(name, None)
        else:
            names[folder][name] = node


def _left(node: Node, part: random.Random | bool) -> bytes:
    if isinstance(part, bool):
        return bytes(node.data) if part else node.safe
    left = bytearray(node.safe)
    for offset, data in node.since:  # in full, in part, as zeros, or not at all
        size = len(data or b"")
        for kept in part.choice(([data], [data and data[: part.randrange(size + 1)]], [data and bytes(size)], [])):
            _write(left, offset, kept)
    return bytes(left)


def _write(data: bytearray, offset: int, new: bytes | None) -> None:
    """Write `new` at an offset; None: the file has this length now."""
    data[len(data) :] = bytes(max(0, offset - len(data)))
    data[offset : offset + len(new) if new is not None else None] = new or b""
