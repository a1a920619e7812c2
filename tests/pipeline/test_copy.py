"""Copies to a GPU that is not there: on a side stream, one batch ahead, from memory that is not used again."""

from contextlib import closing, contextmanager
from itertools import groupby

import pytest
import torch

from viewstream.augment.recipes import moco_v2
from viewstream.pipeline import loader as module
from viewstream.pipeline.choose import open_loader
from viewstream.pipeline.copy import copied_ahead
from viewstream.pipeline.host_batch import CroppedViews, DecodedImages, HostBatch
from viewstream.pipeline.loader import ViewLoader
from viewstream.pipeline.plan.order import Plan
from viewstream.pipeline.timing import Times


class Streams:
    """Two streams of a GPU; `done` lists what was put into them, and `pinned` the lengths of pinned memory."""

    def __init__(self):
        self.done, self.pinned, self.recorded, self.current = [], [], [], "main"
        self.side = Stream("side", self)
        self.main = Stream("main", self)

    @contextmanager
    def within(self, stream):
        self.current = stream.name
        yield
        self.current = "main"


class Stream:
    device = torch.device("cpu")

    def __init__(self, name, streams):
        self.name, self.streams = name, streams

    def wait_stream(self, other):
        self.streams.done.append(f"{self.name} waits for {other.name}")


@pytest.fixture
def streams(monkeypatch):
    streams, empty, move, pins = Streams(), torch.empty, torch.Tensor.to, set()

    def pin(self):
        pins.add(self.data_ptr())
        return self

    def to(self, *where, **more):
        if streams.current == "main":
            return move(self, *where, **more)
        assert more == {"non_blocking": True}
        assert self.data_ptr() in pins
        streams.done.append(f"copy on {streams.current}")
        return self.clone()

    def record(self, stream):
        streams.recorded.append(self.data_ptr())
        streams.done.append(f"record on {stream.name}")

    def unpinned(*size, pin_memory=False, **more):
        streams.pinned.extend(size * pin_memory)
        return empty(*size, **more)

    monkeypatch.setattr(torch.cuda, "stream", streams.within)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: streams.main)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(torch.Tensor, "record_stream", record)
    monkeypatch.setattr(torch, "empty", unpinned)
    return streams


def batch_of(number, whole):
    flat, boxes = torch.full((24,), number, dtype=torch.uint8), torch.zeros(2, 1, 10, dtype=torch.int32)
    pixels = DecodedImages(flat, torch.full((2, 2), 2).numpy(), boxes, [2]) if whole else CroppedViews(flat, [2])
    ids = torch.tensor([number, number])
    return HostBatch(pixels, (torch.ones(2, 3),), torch.ones(2, 1), ids, ids.clone())


def tensors_of(batch):
    found = []
    batch.map(lambda tensor: found.append(tensor) or tensor)
    return found


@pytest.mark.parametrize("whole", [False, True], ids=["views", "images"])
def test_the_next_batch_is_copied_before_one_is_handed_over_and_no_step_waits_for_that_copy(streams, whole):
    n = len(tensors_of(batch_of(0, whole)))
    for batch in copied_ahead((batch_of(i, whole) for i in range(3)), streams.side, Times()):
        streams.done.append(f"take {int(batch.index[0])}")
        assert streams.recorded[-n:] == [tensor.data_ptr() for tensor in tensors_of(batch)]
    copy, handed = ("copy on side", n), [("main waits for side", 1), ("record on main", n)]
    order = [(word, len(list(several))) for word, several in groupby(streams.done)]
    assert order == [copy, *handed, copy, ("take 0", 1), *handed, copy, ("take 1", 1), *handed, ("take 2", 1)]


def test_a_loader_for_a_gpu_has_four_batches_ahead_and_uses_no_pinned_memory_again(streams, built, monkeypatch):
    plan, size = Plan(len(built), 8, seed=5), 8 * 2 * 3 * 32 * 32
    with closing(open_loader("webdataset", built, plan, moco_v2(32), threads=2)) as loader:
        theirs = [[t.clone() for t in tensors_of(host)] for host in loader.host_batches(0)]
    monkeypatch.setattr(module, "usable", lambda device: torch.device("cuda"))
    monkeypatch.setattr(module, "side_stream", lambda device: streams.side)
    monkeypatch.setattr(ViewLoader, "_render", lambda self, host: host)
    with closing(open_loader("webdataset", built, plan, moco_v2(32), threads=2)) as loader:
        batches = loader.epoch(0)
        assert streams.pinned == [size] * 4
        ours = [next(batches)]
        assert streams.pinned == [size] * 6  # two have left the loader, and four are ahead
        ours += batches
        assert streams.pinned == [size] * 12
        assert loader._buffers._spare == []
    for host, right in zip(ours, theirs, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(tensors_of(host), right, strict=True))
