"""The precision of a run: what a recipe means on a machine, what is printed and kept, what a resume compares."""

import json
from dataclasses import replace

import pytest
import torch

from viewstream.shards.cli import parse
from viewstream.shards.errors import UserError
from viewstream.trainers.precision import tf32
from viewstream.trainers.recipes import recipe_named
from viewstream.trainers.recipes.options import BYOL, MoCo, Supervised
from viewstream.trainers.training.precision import described, precision

from ..small_runs import COMMON, SMALL, losses, words

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)  # naming a GPU needs none


@pytest.mark.parametrize(
    ("asked", "gpu", "cpu"),
    [
        ("auto", torch.bfloat16, torch.float32),
        ("auto-fp16", torch.float16, torch.float32),
        ("bf16", torch.bfloat16, torch.bfloat16),
        ("fp32", torch.float32, torch.float32),
    ],
)
def test_a_precision_depends_on_the_device_only_if_it_is_automatic(asked, gpu, cpu):
    recipe = MoCo(precision=asked)
    assert (precision(recipe, GPU), precision(recipe, CPU)) == (gpu, cpu)


def test_the_fp16_of_a_recipe_is_fp32_on_a_cpu_and_fp16_by_name_is_refused():
    recipe = recipe_named("ssl_small_resnet18")
    assert precision(recipe, GPU) == torch.float16
    assert described(recipe, CPU) == "fp32: fp16, as in the recipe's program, needs a GPU"
    (named,) = parse(recipe, argv=["--precision", "fp16"], description="")
    with pytest.raises(UserError, match="--precision fp16 needs a GPU"):
        precision(named, CPU)


@pytest.fixture
def flags():
    """(matrix products, convolutions) -> sets TF32 on a GPU; torch's default at the end."""

    def call(matrices, convolutions):
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matrices, convolutions

    yield call
    call(False, True)


def test_tf32_is_described_as_torch_is_set(flags, monkeypatch):
    flags(True, False)
    assert tf32() == "on for matrix products, off for convolutions"
    flags(False, True)
    assert described(MoCo(), GPU) == "bf16, TF32 off for matrix products, on for convolutions"
    assert described(MoCo(), CPU) == "fp32"
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert tf32() == "off for matrix products, off for convolutions"


def test_a_run_prints_and_keeps_its_precision(run, capsys):
    small = words(arch="test_resnet", size=32, epochs=1, batch_size=16, queue=64, bn_groups=2)
    (recipe,) = parse(recipe_named("ssl_small_resnet18"), argv=small, description="")
    folder = run("run", recipe)
    assert "precision fp32: fp16, as in the recipe's program, needs a GPU\n" in capsys.readouterr().out
    config = json.loads((folder / "config.json").read_text())
    assert (config["precision"], config["recipe"]["precision"]) == ("fp32", "auto-fp16")
    assert torch.load(folder / "last.pt", weights_only=True)["recipe"]["precision"] == "auto-fp16"


def test_a_resume_compares_the_precision_of_the_recipe_and_takes_a_run_without_loss_scaling(run, monkeypatch):
    half = replace(SMALL, precision="auto-fp16", epochs=1)
    folder = run("run", half)
    with pytest.raises(UserError, match=r"another recipe \(precision 'auto-fp16' -> 'fp32'\)"):
        run("run", replace(half, precision="fp32"), resume="auto")
    scaler = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device, enabled: scaler(device, enabled=True))  # as on a GPU
    run("run", half, resume="auto")
    assert losses(folder).keys() == set(range(1, 7))


LONG = COMMON | {"epochs": 17}
# Recipe, and how far means of ten losses may differ from those in fp32.
BANDS = {
    "moco": (MoCo(**LONG, queue=64, dim=16, key_momentum=0.99, bn_groups=2), 0.01),
    "supervised": (Supervised(**LONG, views="supervised", bn_groups=2), 0.1),
    "byol": (BYOL(**LONG, views="byol", dim=16, hidden=32), 0.2),
}


@pytest.mark.full
@pytest.mark.parametrize("name", BANDS)
def test_a_hundred_losses_in_bf16_stay_within_a_band_of_those_in_fp32(run, name):
    recipe, band = BANDS[name]
    full, half = (
        torch.tensor([*losses(run(dtype, replace(recipe, precision=dtype))).values()][:100])
        for dtype in ("fp32", "bf16")
    )
    assert not torch.equal(full, half)
    assert abs(half[0] / full[0] - 1) < 0.01
    assert (half.view(10, 10).mean(1) / full.view(10, 10).mean(1) - 1).abs().max() < band
