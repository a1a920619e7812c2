"""What only shows after a while or with company: growth over epochs, several processes, threads that fail."""

import gc
import os
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from viewstream.augment.recipes import moco_v2
from viewstream.pipeline.choose import open_reader
from viewstream.pipeline.loader import AHEAD, ViewLoader
from viewstream.pipeline.plan.order import Plan

EPOCHS = 20

RANK = """
import sys, numpy as np, torch.distributed as dist
from viewstream.augment.recipes import moco_v2
from viewstream.pipeline.choose import open_loader, open_set
from viewstream.pipeline.plan.order import Plan
dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
data = open_set(sys.argv[1])
for tail in ("drop", "exact"):
    plan = Plan(len(data), 4 * 6, world, rank, seed=5, tail=tail)
    loader = open_loader(sys.argv[2], data, plan, moco_v2(32), threads=1)
    steps = [(b.index.tolist(), [v.double().sum().item() for v in b.views]) for b in loader.epoch(1)]
    gathered = [None] * world
    dist.all_gather_object(gathered, steps)
    assert len({len(steps) for steps in gathered}) == 1
    if not rank:
        ids = [i for step in zip(*gathered) for ids, _ in step for i in ids]
        np.save(f"{sys.argv[3]}-{tail}-{world}.npy", np.array(ids))
        sums = [sum(s[v] for _, s in step) for step in zip(*gathered) for v in range(2)]
        np.save(f"{sys.argv[3]}-{tail}-{world}-sums.npy", np.array(sums))
    loader.close()
dist.destroy_process_group()
"""


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.full
@pytest.mark.parametrize("crops", ["host", "device"])
def test_twenty_epochs_need_no_more_memory_threads_or_files_than_the_twenty_before(built, crops):
    plan = Plan(len(built), 32, seed=1)
    stream = ViewLoader(built, plan, moco_v2(64), open_reader("webdataset", built), threads=2, crops=crops)
    seen = []
    with closing(stream):
        for epoch in range(2 * EPOCHS):
            sum(len(b.index) for b in stream.epoch(epoch))
            gc.collect()
            seen.append((resident(), threading.active_count(), len(os.listdir("/proc/self/fd"))))
    first, second = np.array(seen[:EPOCHS]).max(0), np.array(seen[EPOCHS:]).max(0)
    assert (second[1:] == first[1:]).all()
    assert second[0] - first[0] < 16 << 20  # sizes of canvases vary, and the allocator keeps some


@pytest.mark.full
def test_memory_is_that_of_the_batches_in_flight(built):
    """In a process of its own, where nothing else comes and goes."""
    program = """
import sys, os
from pathlib import Path
from viewstream.augment.recipes import moco_v2
from viewstream.pipeline.choose import open_loader, open_set
from viewstream.pipeline.plan.order import Plan
page = os.sysconf("SC_PAGE_SIZE")
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * page
data = open_set(sys.argv[1])
small = open_loader("webdataset", data, Plan(len(data), 8), moco_v2(32), threads=2)
for _ in small.host_batches(0): pass
before, most = resident(), 0
large = open_loader("webdataset", data, Plan(len(data), 32), moco_v2(448), threads=2)
for epoch in range(4):
    for _ in large.host_batches(epoch): most = max(most, resident())
print(most - before, large.executor.bytes_for(32))
"""
    done = subprocess.run([sys.executable, "-c", program, str(built.root)], capture_output=True, text=True, check=True)
    grown, batch = map(int, done.stdout.split())
    assert grown <= 1.2 * (AHEAD + 1) * batch


@pytest.mark.full
@pytest.mark.parametrize("reader", ["webdataset", "folder"])
def test_gloo_ranks_share_an_epoch_exactly_at_one_two_and_three(built, tmp_path, reader):
    program = tmp_path / "rank.py"
    program.write_text(RANK)
    for world in (1, 2, 3):
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
        words = [str(program), str(built.root), reader, str(tmp_path / "ids")]
        done = subprocess.run(
            [*launch, *words], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        assert done.returncode == 0, done.stderr
    for tail in ("drop", "exact"):
        one = np.load(tmp_path / f"ids-{tail}-1.npy")
        assert len(set(one.tolist())) == len(one) == len(built)
        for world in (2, 3):
            np.testing.assert_array_equal(np.load(tmp_path / f"ids-{tail}-{world}.npy"), one)
            sums = [np.load(tmp_path / f"ids-{tail}-{w}-sums.npy") for w in (1, world)]
            np.testing.assert_allclose(sums[1], sums[0], rtol=1e-5, atol=1e-2)


def test_an_error_in_a_thread_reaches_the_consumer_at_once_and_the_stream_goes_on(built):
    class Falling:
        def __init__(self, reader):
            self.reader, self.falls = reader, True

        def read(self, row):
            if self.falls and row == 40:
                raise MemoryError("no room left")
            return self.reader.read(row)

        def __getattr__(self, name):
            return getattr(self.reader, name)

    reader = Falling(open_reader("webdataset", built))
    stream = ViewLoader(built, Plan(len(built), 16), moco_v2(32), reader, threads=2)
    with closing(stream):
        with pytest.raises(MemoryError, match="no room left"):
            list(stream.epoch(0))
        reader.falls = False
        assert len(list(stream.epoch(0))) == len(built) // 16


def test_views_do_not_change_when_the_memory_of_their_pixels_is_used_again(built):
    stream = ViewLoader(built, Plan(len(built), 8), moco_v2(32), open_reader("webdataset", built), threads=2)
    with closing(stream):
        kept = list(stream.epoch(0))
        for batch in kept:
            again = stream.batch(batch.index.numpy(), 0)
            assert all(torch.equal(a, b) for a, b in zip(batch.views, again.views, strict=True))
