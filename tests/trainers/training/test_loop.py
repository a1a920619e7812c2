"""What the training loop puts around a step: autocast, buckets of gradients, waiting."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.parallel import DistributedDataParallel

from viewstream.pipeline.batch import Batch
from viewstream.trainers.checkpoints.manager import CheckpointManager, TrainState
from viewstream.trainers.methods.method import Method
from viewstream.trainers.ranks import rank
from viewstream.trainers.training import loop, optim
from viewstream.trainers.training.log import Log
from viewstream.trainers.training.loop import train

from ...fake_gpu import Crossings, pretended, without_memory
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
            x = torch.randn(16, 3, 4, 4, generator=torch.Generator().manual_seed(8 * number + step + 99 * rank()))
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
        right = (scores.argmax(dim=1) == batch.target).float().mean()
        return nn.functional.cross_entropy(scores.float(), batch.target), {"acc1": right}


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


class Copies(DistributedDataParallel):
    """DDP that copies gradients from its buckets."""

    def __init__(self, module, *, gradient_as_bucket_view, **options):
        assert gradient_as_bucket_view
        super().__init__(module, **options)


def weights_on_a_rank(folder):
    """The weights after two steps of two batches each: with gradients that are views of buckets, and with copies."""
    ended = []
    for kind in (DistributedDataParallel, Copies):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "DistributedDataParallel", kind)
            ended.append(trained(folder, precision="fp32", accumulate=2)[1].state_dict())
    return ended


@pytest.mark.full
def test_gradients_that_are_views_of_buckets_change_no_weight(on_ranks, tmp_path):
    for views, copies in (ranks := on_ranks(weights_on_a_rank, 2, tmp_path)):
        for name, weight in views.items():
            assert torch.equal(weight, copies[name])
            assert torch.equal(weight, ranks[0][0][name])


class Crossed(Probe):
    """A classifier that uses its layers in another order than it has them, so that DDP moves them in its buckets."""

    def __init__(self):
        super().__init__()
        self.linear, self.before = nn.Linear(32, 4), nn.Linear(48, 32)

    def forward(self, batch, now):
        scores = self.linear(self.before(batch.views[0].flatten(1)))
        return nn.functional.cross_entropy(scores, batch.target), {}


def gradients_on_a_rank():
    """The gradients of the same step, taken three times with weights that stay."""
    recipe, took = replace(SMALL, lr=0.0, weight_decay=0.0, schedule="cos", warmup_epochs=0, precision="fp32"), []
    torch.manual_seed(0)
    method = Crossed()
    state = TrainState(method, optim.optimizer_of(method, recipe), torch.amp.GradScaler("cpu", enabled=False))
    stepper = loop.Stepper(state, recipe, 4)
    for _ in range(3):
        stepper.step(0, Watched().epoch(0))
        took.append([p.grad.clone() for p in method.parameters()])
    return took


@pytest.mark.full
def test_ranks_add_up_the_gradients_of_their_first_step_in_the_order_of_all_later_ones(on_ranks):
    for first, *later in on_ranks(gradients_on_a_rank, 3):
        for other in later:
            assert all(map(torch.equal, first, other))


class OnGpu(Watched):
    """A Loader of images without memory, on a GPU that is not there."""

    def epoch(self, number, start=0):
        for _ in range(start, len(self)):
            yield Batch(
                (torch.empty(16, 3, 4, 4, device="cuda"),),
                *(torch.empty(16, dtype=torch.long, device="cuda") for _ in range(2)),
            )


class Unsaved(CheckpointManager):
    def save(self, step):
        pass


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_on_a_gpu_an_interval_waits_once_for_its_line_of_the_log(monkeypatch, tmp_path, accumulate, precision):
    """Through the whole of `train`, but for the gradients, which a GPU would have to compute."""
    recipe = replace(SMALL, epochs=2, schedule="cos", warmup_epochs=0, accumulate=accumulate, precision=precision)
    method, read, steps = Probe(), [], 4 // accumulate

    def backward(loss):
        for p in method.parameters():
            p.grad = torch.empty_like(p)

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    monkeypatch.setattr(FakeTensor, "tolist", lambda values: read.append(len(values)) or [0.0] * len(values))
    monkeypatch.setattr(torch, "_fused_sgd_", lambda *_, **__: None)  # torch computes no shapes for this kernel
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    with pretended(monkeypatch):
        without_memory(method, "cuda")
        scaler = torch.amp.GradScaler("cuda", enabled=precision == "fp16")
        scaler.scale(torch.empty((), device="cuda"))  # the first call makes the scale
        checkpoints = Unsaved(
            tmp_path, TrainState(method, optim.optimizer_of(method, recipe), scaler), {}, per_epoch=steps
        )
        log = Log(tmp_path, range(2 * steps), batch=16, every=steps)
        with Crossings() as crossings:
            train(recipe, OnGpu(), checkpoints, log)
        log.close()
    assert not crossings.seen
    assert read == [4, 4]  # loss, acc1, gradient and the wish to stop, once an epoch
