"""What the training loop puts around a step: autocast, buckets of gradients, waiting."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from viewstream.pipeline.batch import Batch
from viewstream.trainers.checkpoints.manager import CheckpointManager, TrainState
from viewstream.trainers.methods.method import Method
from viewstream.trainers.training import optim
from viewstream.trainers.training.log import Log
from viewstream.trainers.training.loop import train

from ..small_runs import SMALL


class Watched:
    """A Loader of random images that notes whether autocast is on while it makes a batch."""

    def __init__(self):
        self.autocast = []

    def __len__(self):
        return 4

    def epoch(self, number, start=0):
        for step in range(start, len(self)):
            self.autocast.append(torch.is_autocast_enabled("cpu"))
            x = torch.randn(16, 3, 4, 4, generator=torch.Generator().manual_seed(8 * number + step))
            yield Batch((x,), torch.arange(16) % 4, torch.arange(16))


class Probe(Method):
    """A linear classifier that notes the dtype of its forward, and whether autocast is on during the backward."""

    prefill = 2

    def __init__(self):
        super().__init__()
        self.linear, self.dtypes, self.backward, self.filled = nn.Linear(48, 4), [], [], []

    @classmethod
    def build(cls, recipe, classes):
        return cls()

    @property
    def backbone(self):
        return self.linear

    def fill(self, batch, now):
        self.filled.append((torch.is_grad_enabled(), self.linear(batch.views[0].flatten(1)).dtype))

    def forward(self, batch, now):
        scores = self.linear(batch.views[0].flatten(1))
        self.dtypes.append(scores.dtype)
        scores.register_hook(lambda _: self.backward.append(torch.is_autocast_enabled("cpu")))
        return nn.functional.cross_entropy(scores.float(), batch.target), {}


def trained(tmp_path, **options):
    """The loader and the method of 4 steps, or of as many as the batches in parts allow."""
    recipe = replace(SMALL, epochs=1, schedule="cos", warmup_epochs=0, **options)
    torch.manual_seed(0)
    method, loader = Probe(), Watched()
    state = TrainState(method, optim.optimizer_of(method, recipe), torch.amp.GradScaler("cpu", enabled=False))
    steps = len(loader) // recipe.accumulate
    log = Log(tmp_path, range(steps), batch=16, every=1)
    assert train(recipe, loader, CheckpointManager(tmp_path, state, {}, per_epoch=steps), log) == steps
    log.close()
    return loader, method


@pytest.mark.parametrize("accumulate", [1, 2])
def test_batches_are_made_and_gradients_computed_outside_of_autocast(tmp_path, accumulate):
    loader, method = trained(tmp_path, precision="bf16", accumulate=accumulate)
    assert method.dtypes == [torch.bfloat16] * 4  # the forward is inside
    assert method.filled == [(False, torch.bfloat16)] * 2
    assert method.backward == [False] * 4
    assert loader.autocast == [False] * (2 + 4)  # two fill the queue


def test_in_fp32_no_part_of_a_step_runs_under_autocast(tmp_path):
    loader, method = trained(tmp_path, precision="fp32")
    assert method.dtypes == [torch.float32] * 4
    assert not any(loader.autocast + method.backward)
