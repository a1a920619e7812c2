"""Run by torchrun: this rank's part of the recorded two-rank KCL step, gaps to the recording as JSON."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from viewstream.pipeline.batch import Batch
from viewstream.trainers.methods.kcl import KCL
from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.parts import Queue
from viewstream.trainers.methods.positives import picked, soft_targets
from viewstream.trainers.nets.encoder import Encoder
from viewstream.trainers.ranks import process_group, rank

with process_group("cpu"):
    with np.load(sys.argv[1]) as file:
        g = {k: torch.from_numpy(file[k]) for k in file}
    encoder, now, target = Encoder(nn.Identity(), nn.Identity()), Now(0, 1, 0), g["labels"][rank()]
    kcl = KCL(encoder, batch=8, dim=8, queue=24, temperature=float(g["temperature"]), bn_groups=2, posk=int(g["posk"]))
    kcl.queue, kcl.label_queue = Queue(g["queue"].T.double().contiguous()), Queue(g["label_queue"].clone())
    for queue in (kcl.queue, kcl.label_queue):
        queue.head.fill_(int(g["ptr"]))
    x1, x2 = g["x"][rank()].double()
    batch = Batch((x1, x2), target, target)
    chosen = picked(target[:, None] == kcl.label_queue.rows, kcl.order(4, now), kcl.posk)
    scores = kcl.scores(*kcl.embed(batch, now))
    loss, _ = kcl(batch, now)
    kcl.after_step(now)
    gaps = {
        "logits": (scores - g["logits"][rank()]).abs().max().item(),
        "targets": (soft_targets(chosen) - g["soft_labels"][rank()]).abs().max().item(),
        "loss": (loss - g["loss"][rank()]).abs().item(),
        "queue": (kcl.queue.rows.T - g["queue_after"]).abs().max().item(),
        "labels": (kcl.label_queue.rows - g["label_queue_after"]).abs().max().item(),
        "head": abs(int(kcl.label_queue.head) - int(g["ptr_after"])),
    }
    Path(sys.argv[2], f"{rank()}.json").write_text(json.dumps(gaps))
