"""Small runs: recipes, their command lines, and what their logs say."""

import json

import torch

from viewstream.trainers.recipes.options import MoCo


def words(**options):
    """The command-line words of options: --batch-size 16 for batch_size=16."""
    return [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]


# What small recipes of several methods have in common: 12 steps on the built set.
COMMON = {"arch": "test_resnet", "size": 32, "epochs": 2, "batch_size": 16, "lr": 0.03}
COMMON_WORDS = words(**COMMON, schedule="cos", warmup_epochs=0)
ON_CPU = words(device="cpu", log_every=1)

# A MoCo run, as a recipe and as a command line.
SMALL = MoCo(**COMMON, queue=64, key_momentum=0.99, bn_groups=2)
SMALL_WORDS = [*words(**COMMON, queue=64, key_momentum=0.99, bn_groups=2), *ON_CPU]

# What the command lines of all methods have in common, and what each adds.
EVERY = [*COMMON_WORDS, *ON_CPU, "--loader", "webdataset"]
QUEUE = {"queue": 64, "dim": 16, "bn_groups": 2}
WORDS = {
    "moco": words(**QUEUE, key_momentum=0.99),
    "kcl": words(**QUEUE, key_momentum=0.99, posk=2),
    "byol": words(dim=16, hidden=32),
    "sts": words(dim=16, hidden=32),
    "m2t": words(dim=16, hidden=32, bn_groups=2),
    "simclr": words(dim=16),
    "swav": words(dim=16, hidden=32, prototypes=12, freeze=3, queue=32, queue_epoch=1),
    "dino": words(dim=32, hidden=32, bottleneck=16),
    "seed": words(**QUEUE, teacher_arch="test_resnet"),
    "supervised": words(bn_groups=2),
}


def rows(folder):
    """The lines of a run's log.jsonl."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def losses(folder):
    """{step: loss} of a run."""
    return {row["step"]: row["loss"] for row in rows(folder) if "loss" in row}


def state(folder, name="last.pt"):
    """The method's state in a run's checkpoint."""
    return torch.load(folder / name, weights_only=True)["method"]
