"""Run by torchrun: a few steps on the set in argv, then every rank compares its parameters and queue with rank 0's."""

import sys
import tempfile
from pathlib import Path

import torch.distributed as dist

from viewstream.augment.recipes import moco_v2
from viewstream.pipeline.choose import open_door
from viewstream.pipeline.order import Plan
from viewstream.pipeline.stream import Stream
from viewstream.shards.manifest import Manifest
from viewstream.trainers import optim
from viewstream.trainers.log import Log
from viewstream.trainers.loop import train
from viewstream.trainers.ranks import group, rank, world
from viewstream.trainers.recipes import Recipe
from viewstream.trainers.run import method_of

recipe = Recipe(arch="test_resnet", size=32, epochs=1, batch_size=16, queue=64, bn_groups=2, lr=0.1, key_momentum=0.9)
with group("cpu") as device:
    data = Manifest.open(sys.argv[1])
    plan = Plan(len(data), 16, world(), rank(), 0)
    loader = Stream(data, plan, moco_v2(32), open_door("webdataset", data), device=device, threads=1)
    method = method_of(recipe)
    before = {k: v.clone() for k, v in method.state_dict().items()}
    log = Log(Path(tempfile.mkdtemp()) / "log.jsonl", done=0, total=len(loader), batch=16, every=100)
    train(method, loader, optim.sgd(method, 0.1, 0.9, 1e-4), recipe, lambda epoch: 0.1, log, lambda step: None)
    loader.close()
    changed = 0
    for name, value in method.state_dict().items():
        if "running_" in name:
            continue  # BatchNorm's running statistics are each rank's own
        theirs = value.clone()
        dist.broadcast(theirs, src=0)
        assert theirs.equal(value), f"rank {rank()} differs from rank 0 in {name}"
        changed += not value.equal(before[name])
    assert changed > 10
    if not rank():
        print("agree")
