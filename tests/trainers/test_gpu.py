"""What only a GPU can show: steps without waiting, and the same pixels as on the CPU."""

import pytest
import torch

from viewstream.augment.recipes import VIEWS
from viewstream.pipeline.choose import open_loader
from viewstream.pipeline.plan.order import Plan
from viewstream.trainers.methods.build import build
from viewstream.trainers.methods.method import Now
from viewstream.trainers.recipes.options import MoCo
from viewstream.trainers.training import optim

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: nothing tests its copies, streams and syncs"),
]


def open_views(built, device):
    """By the crops of the host: one level of those of the device is ten times the tolerance of the renderers."""
    return open_loader("webdataset", built, Plan(len(built), 16), VIEWS["moco_v2"](32), device=device, crops="host")


def test_a_training_step_never_waits_for_the_gpu(built):
    recipe = MoCo(arch="test_resnet", size=32, epochs=2, batch_size=16, queue=64, bn_groups=2)
    method = build(recipe).cuda().to(memory_format=torch.channels_last).train()
    optimizer, loader = optim.sgd(method, 0.03, 0.9, 1e-4), open_views(built, "cuda")

    def step(batch, now):
        method.before_step(now)
        with torch.autocast("cuda", torch.bfloat16):
            loss, _ = method(batch, now)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        method.after_step(now)

    try:
        for number, batch in enumerate(loader.epoch(0)):
            if number == 3:  # by now memory is allocated and kernels are chosen, both of which may wait
                torch.cuda.set_sync_debug_mode("error")
            step(batch, Now(number, 10, 0))
    finally:
        torch.cuda.set_sync_debug_mode("default")
        loader.close()


def test_a_gpu_renders_the_views_of_the_cpu(built):
    gpu, cpu = open_views(built, "cuda"), open_views(built, "cpu")
    for a, b in zip(gpu.epoch(0), cpu.epoch(0), strict=True):
        assert torch.equal(a.index.cpu(), b.index)
        for v, w in zip(a.views, b.views, strict=True):
            torch.testing.assert_close(v.cpu(), w, rtol=0, atol=2e-3)
    gpu.close()
    cpu.close()
