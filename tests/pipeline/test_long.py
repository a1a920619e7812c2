"""Failures that take time or company to show: growth over epochs, several processes, failing threads, reused memory."""

import gc
import os
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from viewstream.augment.recipes import moco_v2
from viewstream.pipeline.choose import open_loader, open_reader
from viewstream.pipeline.loader import AHEAD
from viewstream.pipeline.plan.order import Plan

EPOCHS = 20
HERE = Path(__file__).parent


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.full
@pytest.mark.parametrize("crops", ["host", "device"])
def test_twenty_more_epochs_need_no_more_memory_threads_or_files(built, crops):
    loader = open_loader("webdataset", built, Plan(len(built), 32, seed=1), moco_v2(64), threads=2, crops=crops)
    used = []
    with closing(loader):
        for epoch in range(2 * EPOCHS):
            sum(len(b.index) for b in loader.epoch(epoch))
            gc.collect()
            used.append((resident(), threading.active_count(), len(os.listdir("/proc/self/fd"))))
    first, second = np.array(used[:EPOCHS]).max(0), np.array(used[EPOCHS:]).max(0)
    assert (second[1:] == first[1:]).all()
    assert second[0] - first[0] < 16 << 20  # sizes of canvases vary, and the allocator keeps some


@pytest.mark.full
def test_memory_is_that_of_the_batches_in_flight(built, program):
    done = program(HERE / "peak_memory.py", built.root)
    assert done.returncode == 0, done.stderr
    growth, batch = map(int, done.stdout.split())
    assert growth <= 1.2 * (AHEAD + 1) * batch


@pytest.mark.full
@pytest.mark.parametrize("reader", ["webdataset", "folder"])
def test_one_two_and_three_gloo_ranks_share_an_epoch_exactly(built, program, tmp_path, reader):
    for world in (1, 2, 3):
        done = program(HERE / "rank_epochs.py", built.root, reader, tmp_path / "epoch", ranks=world)
        assert done.returncode == 0, done.stderr
    for tail in ("drop", "exact"):
        alone, *several = (np.load(tmp_path / f"epoch-{tail}-{world}.npz") for world in (1, 2, 3))
        assert len(set(alone["ids"].tolist())) == len(alone["ids"]) == len(built)
        for ranks in several:
            np.testing.assert_array_equal(ranks["ids"], alone["ids"])
            np.testing.assert_allclose(ranks["sums"], alone["sums"], rtol=1e-5, atol=1e-2)


def test_a_thread_error_reaches_the_consumer_at_once_and_the_loader_goes_on(built):
    class Failing:
        def __init__(self, reader):
            self.reader, self.fails = reader, True

        def read(self, row):
            if self.fails and row == 40:
                raise MemoryError("no room left")
            return self.reader.read(row)

        def __getattr__(self, name):
            return getattr(self.reader, name)

    reader = Failing(open_reader("webdataset", built))
    with closing(open_loader(reader, built, Plan(len(built), 16), moco_v2(32), threads=2)) as loader:
        with pytest.raises(MemoryError, match="no room left"):
            list(loader.epoch(0))
        reader.fails = False
        assert len(list(loader.epoch(0))) == len(built) // 16


def test_views_do_not_change_when_the_memory_of_their_pixels_is_used_again(built):
    with closing(open_loader("webdataset", built, Plan(len(built), 8), moco_v2(32), threads=2)) as loader:
        kept = list(loader.epoch(0))
        for batch in kept:
            again = loader.batch(batch.index.numpy(), 0)
            assert all(torch.equal(a, b) for a, b in zip(batch.views, again.views, strict=True))
