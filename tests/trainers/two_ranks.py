"""Run by torchrun: this rank's part of the recorded two-rank MoCo step, gaps to the recording as JSON."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from viewstream.trainers.methods.moco import logits
from viewstream.trainers.methods.parts import Queue, shuffle_bn, split_bn
from viewstream.trainers.ranks import process_group, rank

with process_group("cpu"):
    with np.load(sys.argv[1]) as file:
        g = {k: torch.from_numpy(file[k]) for k in file}
    net = nn.Sequential(nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8, affine=False)).double()
    net[0].weight.data = g["W"].double()
    x1, x2 = g["x"][rank()].double()
    q = F.normalize(split_bn(net, x1, groups=2), dim=1)
    k = F.normalize(shuffle_bn(net, x2, groups=2, order=g["idx_shuffle"]), dim=1)
    queue = Queue(g["queue"].T.double().contiguous())
    queue.head.fill_(int(g["ptr"]))
    scores = logits(q, k, queue.rows, float(g["temperature"]))
    loss = F.cross_entropy(scores, torch.zeros(len(q), dtype=torch.long))
    queue.push(k)
    gaps = {
        "logits": (scores - g["logits"][rank()]).abs().max().item(),
        "loss": (loss - g["loss"][rank()]).abs().item(),
        "queue": (queue.rows.T - g["queue_after"]).abs().max().item(),
        "head": abs(int(queue.head) - int(g["ptr_after"])),
    }
    Path(sys.argv[2], f"{rank()}.json").write_text(json.dumps(gaps))
