"""Loops of other projects as users write them: what each rank saw in each epoch.

Run as each of several ranks, with lightning or accelerate, SET and OUT.
"""

import os
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader

from viewstream.augment.recipes import moco_v2
from viewstream.pipeline import as_dataset, open_set

EPOCHS = 3


def seen(batch):
    """(row, sum of its first view) of each sample."""
    views, _, index = batch
    return [(int(row), round(float(view.double().sum()), 3)) for row, view in zip(index, views[0], strict=True)]


def lightning(data, ranks):
    from pytorch_lightning import LightningModule, Trainer

    class Module(LightningModule):
        def __init__(self):
            super().__init__()
            self.net, self.epochs = nn.Linear(3, 1), []

        def train_dataloader(self):
            dataset, steps = as_dataset(
                data, moco_v2(32), batch=16, seed=5, world_size=self.trainer.world_size, rank=self.trainer.global_rank
            )
            return DataLoader(dataset, batch_sampler=steps)

        def on_train_epoch_start(self):
            self.epochs.append([])

        def training_step(self, batch, _):
            self.epochs[-1].append(seen(batch))
            return self.net(batch[0][0].mean(dim=(2, 3))).mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    several = {"strategy": "ddp", "devices": ranks, "use_distributed_sampler": False} if ranks > 1 else {"devices": 1}
    module = Module()
    Trainer(accelerator="cpu", max_epochs=EPOCHS, num_sanity_val_steps=0, **several, **quiet).fit(module)
    return module.epochs


def accelerated(data, ranks):
    from accelerate import Accelerator

    dataset, steps = as_dataset(data, moco_v2(32), batch=8, seed=5)  # of one process: prepare shares its batches out
    loader = Accelerator(cpu=True).prepare(DataLoader(dataset, batch_sampler=steps))
    return [[seen(batch) for batch in loader] for _ in range(EPOCHS)]


if __name__ == "__main__":
    loop, where, out = sys.argv[1:]
    rank, ranks = (int(os.environ.get(name, default)) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
    found = {"lightning": lightning, "accelerate": accelerated}[loop](open_set(where), ranks)
    torch.save(found, f"{out}-{rank}.pt")
