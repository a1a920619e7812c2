"""`--decode gpu` decodes on a stream of its own, and no copy waits for the GPU: shown by stand-ins without one."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from viewstream.pipeline import copy, gpu_decoder
from viewstream.pipeline.executor import Executor
from viewstream.pipeline.host_batch import BufferPool

from ..fake_gpu import Crossings
from .dali.dali_loaders import Held


@pytest.fixture
def seen(monkeypatch):
    """What happens on a stream that stands in for the one of a GPU."""
    seen = []

    @contextlib.contextmanager
    def current(stream):
        seen.append("begin")
        yield
        seen.append("end")

    class Event:
        def __init__(self, blocking):
            assert blocking

        def record(self, on):
            assert on is stream
            seen.append("record")

        def synchronize(self):
            seen.append("wait")

    stream = SimpleNamespace(device=torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "stream", current)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(gpu_decoder, "side_stream", lambda device: stream)
    return seen


def test_a_batch_is_decoded_on_a_stream_of_its_own_and_complete_when_its_task_is(built, stand_in, seen, monkeypatch):
    def decode(jpegs):
        seen.append("decode")
        return stand_in(jpegs)

    monkeypatch.setattr(gpu_decoder, "open_nvjpeg", lambda device: decode)
    monkeypatch.setattr(gpu_decoder, "_put", lambda image, place: seen.append("put"))
    reader = Held([built.path(row).read_bytes() for row in range(len(built))])
    executor = Executor(reader, built, [32], threads=1)
    decoder = gpu_decoder.GpuDecoder(executor, torch.device("cpu"))
    rows = np.arange(3)
    room = BufferPool(pinned=True, varying=False, stream=decoder.stream)
    flat = room.take(int(3 * built.hw[rows].astype(np.int64).prod(axis=1).sum()))
    assert seen == ["begin", "end"]  # memory of that stream
    assert executor.wait(decoder.start(rows, flat)) == {}
    assert seen[2:] == ["begin", "decode", "put", "put", "put", "end", "record", "wait"]
    room.give_back(flat)
    assert room.take(1) is not flat  # the consumer's stream may still read it
    executor.close()
    decoder.close()


def test_images_go_to_their_places_on_the_gpu_without_a_copy_from_or_to_the_host(fake_gpu):
    flat = torch.empty(3 * 20 * 30, dtype=torch.uint8, device="cuda")
    with Crossings() as crossings:
        gpu_decoder._put(torch.empty(3, 20, 30, dtype=torch.uint8, device="cuda"), flat)
    assert not crossings.seen


def test_pixels_of_the_host_go_to_the_gpu_from_pinned_memory_and_nothing_waits(fake_gpu, monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self.shape) or self)
    flat = torch.empty(3 * 20 * 30, dtype=torch.uint8, device="cuda")
    with Crossings() as crossings:
        gpu_decoder._put(np.zeros((20, 30, 3), np.uint8), flat)
    assert pinned == [(20, 30, 3)]
    assert not crossings.seen


def test_a_batch_that_is_on_the_gpu_already_is_not_copied_there(fake_gpu, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pytest.fail("pinned") if self.is_cuda else self)
    there = torch.empty(8, dtype=torch.uint8, device="cuda")
    assert copy._copied(there, torch.device("cuda")) is there
    assert copy._copied(torch.empty(8), torch.device("cuda")).is_cuda
