"""Run by torchrun: DATA and train.py's words; an epoch, then every rank compares its method with rank 0's."""

import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist

from viewstream.augment.recipes import views_of
from viewstream.pipeline.choose import open_loader
from viewstream.pipeline.plan.order import Plan
from viewstream.shards.cli import parse
from viewstream.shards.manifest import Manifest
from viewstream.trainers.methods.build import build
from viewstream.trainers.ranks import process_group, rank, world_size
from viewstream.trainers.recipes import recipe_named
from viewstream.trainers.training import optim
from viewstream.trainers.training.log import Log
from viewstream.trainers.training.loop import train

data, name, *words = sys.argv[1:]
(recipe,) = parse(recipe_named("", name), argv=words, description="")
with process_group("cpu") as device:
    data = Manifest.open(data)
    plan = Plan(len(data), recipe.batch_size, world_size(), rank(), 0)
    loader = open_loader("webdataset", data, plan, views_of(recipe.views, recipe.size), device=device, threads=1)
    method = build(recipe, len(data.info.classes))
    before = {k: v.clone() for k, v in method.state_dict().items()}
    log = Log(Path(tempfile.mkdtemp()), done=0, total=len(loader), batch=recipe.batch_size, every=100)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    train(method, loader, optim.optimizer_of(method, recipe), scaler, recipe, lambda step: 0.1, log, lambda step: None)
    loader.close()
    changed = 0
    for key, value in method.state_dict().items():
        if "running_" in key and not (name == "m2t" and key.startswith("target.")):
            continue  # BatchNorm's running statistics are each rank's own, but for momentum BatchNorm's
        theirs = value.clone()
        dist.broadcast(theirs, src=0)
        assert theirs.equal(value), f"rank {rank()} differs from rank 0 in {key}"
        changed += not value.equal(before[key])
    assert changed > 5
    if not rank():
        print("agree")
