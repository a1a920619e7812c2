"""Small runs: recipes, the words that ask for them, what their logs say."""

import json

import torch

from viewstream.trainers.recipes.options import MoCo

# A MoCo run of 12 steps, as a recipe and as words.
SMALL = MoCo(arch="test_resnet", size=32, epochs=2, batch_size=16, queue=64, lr=0.03, key_momentum=0.99, bn_groups=2)
SMALL_WORDS = ("--arch", "test_resnet", "--size", 32, "--epochs", 2, "--batch-size", 16, "--queue", 64,
               "--key-momentum", 0.99, "--bn-groups", 2, "--device", "cpu", "--log-every", 1)  # fmt: skip

# What recipes of several methods have in common.
COMMON = {"arch": "test_resnet", "size": 32, "epochs": 2, "batch_size": 16, "lr": 0.03}

# The words of every method's run, and each method's own.
EVERY = ("--arch", "test_resnet", "--size", 32, "--epochs", 2, "--batch-size", 16, "--device", "cpu", "--log-every", 1,
         "--loader", "webdataset", "--lr", 0.03, "--schedule", "cos", "--warmup-epochs", 0)  # fmt: skip
QUEUE = ("--queue", 64, "--dim", 16, "--bn-groups", 2)
BYOL = ("--dim", 16, "--hidden", 32)
WORDS = {
    "moco": (*QUEUE, "--key-momentum", 0.99),
    "kcl": (*QUEUE, "--key-momentum", 0.99, "--posk", 2),
    "byol": BYOL,
    "sts": BYOL,
    "m2t": (*BYOL, "--bn-groups", 2),
    "seed": (*QUEUE, "--teacher-arch", "test_resnet"),
    "supervised": ("--bn-groups", 2),
}


def rows(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def losses(folder):
    """{step: loss}."""
    return {row["step"]: row["loss"] for row in rows(folder) if "loss" in row}


def state(folder, name="last.pt"):
    return torch.load(folder / name, weights_only=True)["method"]
