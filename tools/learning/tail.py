"""Long tails: CIFAR-10-LT (5,000 to 50 images), the tail of Caltech-101 (21 to 790); the test sets are balanced."""

from collections.abc import Iterator
from typing import Any

from viewstream.tools.learning.cifar import ARCH, MOCO
from viewstream.tools.learning.plan import Built, Experiment, Measure, Piece

DATA: dict[str, dict[str, Any]] = {
    "cifar": {
        **{"train": "cifar10-lt", "test": "cifar10-test", "even": "cifar10"},
        **{"size": 32, "views": "simclr_cifar", "ce": 100, "two": 60},
    },
    "caltech": {
        **{"train": "caltech-tail", "test": "caltech-tail-test", "even": "caltech-even"},
        **{"size": 96, "views": "moco_v2", "ce": 24, "two": 10},
    },
}
BALANCED = "linear, balanced labels"  # how balanced the features are: classes with as many labels each


def pieces() -> Iterator[Piece]:
    """Cross-entropy with a balanced second stage and tau-normalization, MoCo and KCL, on each set."""
    for name, about in DATA.items():
        sets = {"data": Built(about["train"]), "val": Built(about["test"])}
        run = {"data": sets["data"], "arch": ARCH, "size": about["size"], "batch_size": 128, "log_every": 50}
        thirds = {**sets, "rule": "thirds"}
        even = {"task": "logreg", **thirds, "data": Built(about["even"]), "counts": "checkpoint"}
        balanced = Measure(BALANCED, even, classes=True)
        second = {"task": "linear", "protocol": "sl_second_stage_balanced", **thirds}
        yield Piece(
            f"{name}-ce-0",
            {**run, "recipe": "sl_lt", "epochs": about["ce"]},
            (
                Measure("own classifier", {"task": "shots", "tau": True, **thirds}, classes=True),
                Measure("balanced second stage", second, classes=True),
                balanced,
            ),
        )
        two = {**run, "views": about["views"], "epochs": about["two"], **MOCO, "lr": 0.03, "queue": 2048}
        for method in ("moco", "kcl"):
            linear = Measure("linear", {"task": "logreg", **thirds}, classes=True)
            yield Piece(f"{name}-{method}-0", {**two, "method": method}, (linear, balanced))


TAIL = Experiment("tail", "long tails: many, medium and few, accuracy by class frequency", tuple(pieces()))
