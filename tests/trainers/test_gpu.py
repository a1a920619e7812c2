"""What only a GPU can show: training without waiting, and the same pixels as on the CPU."""

from contextlib import closing

import pytest
import torch

from viewstream.augment.recipes import VIEWS
from viewstream.pipeline.choose import open_loader
from viewstream.pipeline.plan.order import Plan
from viewstream.trainers.checkpoints.manager import CheckpointManager
from viewstream.trainers.recipes.options import MoCo
from viewstream.trainers.training.kernels import kernels
from viewstream.trainers.training.log import Log
from viewstream.trainers.training.loop import train
from viewstream.trainers.training.options import Run
from viewstream.trainers.training.setup import training_loader, training_state

from .small_runs import losses

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: nothing tests its copies, streams and syncs"),
]
WARM = 3  # steps: by then memory is allocated and kernels are chosen, both of which may wait


class Guarded:
    """A loader between whose batches waiting for the GPU is an error, except in the first steps and the last one, which
    writes the line of the log and the checkpoint."""

    def __init__(self, loader):
        self.loader = loader

    def __len__(self):
        return len(self.loader)

    def epoch(self, number, start=0):
        for position, batch in enumerate(self.loader.epoch(number, start)):
            guarded = number >= 0 and WARM <= position < len(self) - 1
            torch.cuda.set_sync_debug_mode("error" if guarded else "default")
            yield batch


@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
@pytest.mark.parametrize("crops", ["host", "device"])
def test_training_never_waits_for_the_gpu(built, tmp_path, precision, crops):
    recipe = MoCo(
        arch="test_resnet", size=32, epochs=1, batch_size=16, queue=64, bn_groups=2, lr=0.03, precision=precision
    )
    run, device = Run(loader="webdataset", crops=crops, compile="off"), torch.device("cuda", 0)
    state = training_state(recipe, run, built, device, fresh=True)
    try:
        with kernels(run, device), closing(training_loader(recipe, run, built, device)) as loader:
            steps = len(loader)
            checkpoints = CheckpointManager(tmp_path, state, {}, per_epoch=steps)
            with checkpoints, closing(Log(tmp_path, range(steps), batch=16, every=steps)) as log:
                assert train(recipe, Guarded(loader), checkpoints, log) == steps > WARM + 2
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert losses(tmp_path).keys() == {steps}


def test_a_gpu_renders_the_views_of_the_cpu(built):
    plan, views = Plan(len(built), 16), VIEWS["moco_v2"](32)
    gpu, cpu = (
        open_loader("webdataset", built, plan, views, device=device, crops="host") for device in ("cuda", "cpu")
    )
    for a, b in zip(gpu.epoch(0), cpu.epoch(0), strict=True):
        assert torch.equal(a.index.cpu(), b.index)
        for v, w in zip(a.views, b.views, strict=True):
            torch.testing.assert_close(v.cpu(), w, rtol=0, atol=2e-3)
    gpu.close()
    cpu.close()
