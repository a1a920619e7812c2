"""Run with SET, in a process of its own: prints the bytes by which a loader's memory grows, and those of one batch."""

import os
import sys
from pathlib import Path

from viewstream.augment.recipes import moco_v2
from viewstream.pipeline.choose import open_loader, open_set
from viewstream.pipeline.plan.order import Plan


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


data = open_set(sys.argv[1])
small = open_loader("webdataset", data, Plan(len(data), 8), moco_v2(32), threads=2)
for _ in small.host_batches(0):
    pass
before = resident()
large = open_loader("webdataset", data, Plan(len(data), 32), moco_v2(448), threads=2)
peak = max(resident() for epoch in range(4) for _ in large.host_batches(epoch))
print(peak - before, large.executor.bytes_for(32))
