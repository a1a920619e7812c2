"""A copy of a run's state in memory of the host, which a thread can write while training changes the state."""

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Snapshot(NamedTuple):
    """A copy whose tensors are complete once the GPU has reached `copied`, without a GPU at once."""

    content: Any
    copied: torch.cuda.Event | None

    def wait(self) -> Any:
        """The content, complete."""
        if self.copied:
            self.copied.synchronize()
        return self.content


class Snapshots:
    """Takes copies of which `torch.save` writes the bytes that it would write of the original.

    Memory is kept for the next copy, which overwrites the one before. For a GPU it is pinned, and the copying is
    ordered into the current stream: the host goes on at once, and no later step changes what is copied.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self._memory: list[Tensor] = []  # flat uint8, one per storage of the last copy

    def take(self, content: Any) -> Snapshot:
        """A copy of dicts, lists and tuples: their tensors in the kept memory, everything else by value."""
        found = list(tensors(content))
        # Tensors that share a storage share it in the copy as well, and so in the file.
        storages = list(dict.fromkeys(t.untyped_storage() for t in found))
        sizes = [storage.nbytes() for storage in storages]
        if [len(memory) for memory in self._memory] != sizes:
            pinned = self.device.type == "cuda"
            self._memory = [torch.empty(size, dtype=torch.uint8, pin_memory=pinned) for size in sizes]
        for memory, storage in zip(self._memory, storages, strict=True):
            source = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
            memory.copy_(source, non_blocking=True)
        copies = {s: memory.untyped_storage() for s, memory in zip(storages, self._memory, strict=True)}
        known = {id(t): _like(t, copies[t.untyped_storage()]) for t in found}  # what deepcopy need not copy itself
        return Snapshot(copy.deepcopy(content, known), self._event())

    def _event(self) -> torch.cuda.Event | None:
        if self.device.type != "cuda":
            return None
        event = torch.cuda.Event(blocking=True)  # the thread that waits takes no core from training
        event.record(torch.cuda.current_stream(self.device))
        return event


def tensors(content: Any) -> Iterator[Tensor]:
    """The plain tensors within dicts, lists and tuples; one may come several times."""
    if type(content) is Tensor:
        yield content
    elif isinstance(content, dict):
        for value in content.values():
            yield from tensors(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from tensors(value)


def _like(t: Tensor, storage: torch.UntypedStorage) -> Tensor:
    """The tensor that lies in `storage` as `t` lies in its own."""
    return torch.empty(0, dtype=t.dtype).set_(storage, t.storage_offset(), t.size(), t.stride())
