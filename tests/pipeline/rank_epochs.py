"""Run as each of several ranks, with SET READER OUT: rank 0 saves the ids of an epoch over all ranks and view sums."""

import sys
from contextlib import closing

import numpy as np
import torch.distributed as dist

from viewstream.augment.recipes import moco_v2
from viewstream.pipeline.choose import open_loader, open_set
from viewstream.pipeline.plan.order import Plan
from viewstream.trainers.ranks import process_group, rank, world_size

where, reader, out = sys.argv[1:]
with process_group("cpu"):
    data, world = open_set(where), world_size()
    for tail in ("drop", "exact"):
        plan = Plan(len(data), 4 * 6, world, rank(), seed=5, tail=tail)
        with closing(open_loader(reader, data, plan, moco_v2(32), threads=1)) as loader:
            steps = [(b.index.tolist(), [view.double().sum().item() for view in b.views]) for b in loader.epoch(1)]
        ranks = [steps]
        if world > 1:
            ranks = [None] * world
            dist.all_gather_object(ranks, steps)
        assert len({len(steps) for steps in ranks}) == 1
        if not rank():
            ids = [i for step in zip(*ranks, strict=True) for index, _ in step for i in index]
            sums = [sum(s[v] for _, s in step) for step in zip(*ranks, strict=True) for v in range(2)]
            np.savez(f"{out}-{tail}-{world}.npz", ids=ids, sums=sums)
