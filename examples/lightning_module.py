"""Lightning trains on the views of a set, with the loss of the library lightly.

  python examples/lightning_module.py data/shards/imagenet-lt6-train

The batch sampler knows ranks and epochs itself: leave those of Lightning out (`use_distributed_sampler=False`).
"""

import sys

import pytorch_lightning as lightning
import torch
from lightly.loss import NTXentLoss
from torch import Tensor, nn
from torch.utils.data import DataLoader

from viewstream.augment import simclr
from viewstream.pipeline import as_dataset, open_set


class Contrastive(lightning.LightningModule):
    """SimCLR with a small network."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 32, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head, self.criterion = nn.Linear(128, 32), NTXentLoss()

    def training_step(self, batch: tuple[list[Tensor], Tensor, Tensor], batch_idx: int) -> Tensor:
        (a, b), _, _ = batch
        loss = self.criterion(self.head(self.net(a)), self.head(self.net(b)))
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05)


def main(where: str) -> None:
    dataset, steps = as_dataset(open_set(where), simclr(32), batch=32)
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
    )
    trainer.fit(Contrastive(), DataLoader(dataset, batch_sampler=steps))
    print(f"{trainer.global_step} steps, loss {trainer.callback_metrics['loss']:.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
