"""CIFAR-10 on a CPU: every method on the same small network, with the same views and epochs."""

from collections.abc import Iterator
from typing import Any

from viewstream.tools.learning.plan import Built, Experiment, Measure, Options, Piece, Weights

ARCH = "test_resnet"  # of timm, 0.37 million parameters
SMALL = "test_efficientnet"  # students of SEED, 0.1 million
EPOCHS = 16
SETS: dict[str, Any] = {"data": Built("cifar10"), "val": Built("cifar10-test")}
RUN: dict[str, Any] = {"data": Built("cifar10"), "arch": ARCH, "size": 32, "batch_size": 256, "log_every": 50}
VIEWS: dict[str, Any] = {**RUN, "views": "simclr_cifar", "epochs": EPOCHS}
MOCO: dict[str, Any] = {"queue": 4096, "key_momentum": 0.99, "bn_groups": 4, "lr": 0.06, "weight_decay": 5e-4}
BYOL: dict[str, Any] = {
    **{"optimizer": "sgd", "lr": 0.5, "schedule": "warmcos", "warmup_epochs": 1, "weight_decay": 5e-4},
    **{"key_momentum": 0.8, "hidden": 512, "dim": 128},
}
SIMCLR: dict[str, Any] = {"recipe": "simclr_cifar10", "stem": "imagenet", "lr": 1.0, "warmup_epochs": 1}
SEED: dict[str, Any] = {"views": "seed", "queue": 4096, "teacher_temperature": 0.01, "bn_groups": 1, "lr": 0.3}

# Method, seeds, options of train.py. Settings were chosen with 40,000 training images, tested on the other 10,000.
# The momenta of BYOL, STS and M2T are the best of momenta.py.
METHODS: tuple[tuple[str, int, Options], ...] = (
    ("supervised", 1, {**RUN, "method": "supervised", "epochs": EPOCHS, "lr": 0.1, "weight_decay": 5e-4}),
    ("moco", 3, {**VIEWS, "method": "moco", **MOCO}),
    ("kcl", 3, {**VIEWS, "method": "kcl", **MOCO}),
    ("byol", 3, {**VIEWS, "method": "byol", **BYOL}),
    # Three in ten pieces of the teacher move in a step: with 0.33 it moves as fast as that of BYOL with 0.8.
    ("sts", 3, {**VIEWS, "method": "sts", **BYOL, "key_momentum": 0.33}),
    ("m2t", 1, {**VIEWS, "method": "m2t", **BYOL, "key_momentum": 0.6, "bn_groups": 4}),
    ("simclr", 1, {**VIEWS, **SIMCLR}),
    (
        "swav",
        1,
        {
            **{**VIEWS, "method": "swav", "optimizer": "sgd", "lr": 0.3, "epsilon": 0.03},
            **{"prototypes": 100, "hidden": 512, "freeze": 195, "queue": 0},
        },
    ),
    (
        "dino",
        1,
        {
            **{**VIEWS, "method": "dino", "views": "dino", "lr": 0.001, "schedule": "warmcos-closed", "lr_end": 1e-6},
            **{"warmup_epochs": 1, "dim": 1024, "hidden": 512, "bottleneck": 128, "key_momentum": 0.99},
        },
    ),
    ("small_moco", 3, {**VIEWS, "method": "moco", **MOCO, "arch": SMALL}),
    ("seed", 3, {**VIEWS, "method": "seed", **SEED, "arch": SMALL, "teacher": Weights("moco-0")}),
)

KNN = Measure("knn", {"task": "knn", "k": 20, **SETS})
LINEAR = Measure("linear", {"task": "logreg", **SETS})
STATIC: tuple[Measure, ...] = (
    Measure("d-sd", {"task": "instdisc", "mode": "d-sd", "static": Built("caltech-static")}),
    Measure("sd-sd", {"task": "instdisc", "mode": "sd-sd", "static": Built("caltech-static")}),
    Measure("stats", {"task": "stats", "static": Built("caltech-static")}),
)
TSNE = Measure(
    "tsne", {"task": "tsne", "static": Built("caltech-static-50"), "per_class": 50}, picture="tsne_classes.png"
)


def transfer(name: str, rates: tuple[float, ...], **more: object) -> Measure:
    """A classifier on 30 images of each class of Caltech-101; its rate is chosen on a fifth of them."""
    to: Options = {"task": "transfer", "dataset": "caltech101", "size": 96, "batch_size": 64, **more}
    sets = {"data": Built("caltech"), "val": Built("caltech-test")}
    held_out = {"data": Built("caltech-four-fifths"), "val": Built("caltech-fifth")}
    return Measure(name, {**to, **sets}, rates=rates, held_out=held_out)


RATES = (0.15, 0.45, 1.35)
TRANSFERRED = ("supervised", "moco", "byol", "sts", "small_moco", "seed")
TRANSFER = (
    transfer("frozen", (7.5, 22.5, 67.5), epochs=20, eval_every=20),
    transfer("finetuned", RATES, epochs=15, eval_every=15, finetune=True),
)


FROZEN = Measure("frozen", {"task": "logreg", "size": 96, "data": Built("caltech"), "val": Built("caltech-test")})
SCRATCH = Measure(  # what finetuning is compared with: the same network, schedule and rates from random weights
    "finetuned",
    {
        **{"recipe": "transfer_finetune", "arch": ARCH, "size": 96, "batch_size": 64, "bn_groups": 1},
        **{"epochs": 15, "milestones": "9,12", "eval_every": 15, "test_views": "transfer_evaluation"},
        **{"data": Built("caltech"), "val": Built("caltech-test")},
    },
    RATES,
    {"data": Built("caltech-four-fifths"), "val": Built("caltech-fifth")},
)


def pieces() -> Iterator[Piece]:
    """Every method with its seeds, the first of which is measured on Caltech-101 too, and what they have to beat."""
    for name, seeds, options in METHODS:
        for seed in range(seeds):
            measures = (KNN, LINEAR, *STATIC * (seed == 0), *TRANSFER * (seed == 0 and name in TRANSFERRED))
            measures += (TSNE,) * (f"{name}-{seed}" == "moco-0")
            yield Piece(f"{name}-{seed}", {**options, "seed": seed}, measures)
    for seed in range(3):
        bare = [
            Measure(measure.name, {**measure.options, "untrained": True})
            for measure in (KNN, LINEAR, *(*STATIC, FROZEN) * (seed == 0))
        ]
        yield Piece(f"untrained-{seed}", {}, tuple(bare), of=f"moco-{seed}")
    yield Piece("scratch-0", {}, (SCRATCH,))
    pixels = {"task": "pixels", **SETS, "size": 32, "k": 20}
    yield Piece("pixels-0", {}, (Measure("knn", pixels),))


CIFAR10 = Experiment("cifar10", "every method on CIFAR-10, and its transfer to Caltech-101", tuple(pieces()))
