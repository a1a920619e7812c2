"""Run with SET: kills a worker of a DataLoader over our dataset in the middle of an epoch."""

import os
import signal
import sys

from torch.utils.data import DataLoader

from viewstream.augment.recipes import evaluation
from viewstream.pipeline import as_dataset
from viewstream.shards.manifest import Manifest

dataset, batches = as_dataset(Manifest.open(sys.argv[1]), evaluation(16), batch=4)
running = iter(DataLoader(dataset, batch_sampler=batches, num_workers=2))
next(running)
os.kill(running._workers[0].pid, signal.SIGKILL)
list(running)
