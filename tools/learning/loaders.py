"""The loader does not matter: one run through every loader, on one and on two processes, killed and resumed."""

from collections.abc import Iterator

from viewstream.shards.errors import installed
from viewstream.tools.learning.cifar import ARCH, MOCO
from viewstream.tools.learning.plan import Built, Experiment, Measure, Piece

STEPS = 39  # of an epoch


def pieces() -> Iterator[Piece]:
    """Each loader at one rank, two ranks, and at one rank killed in the third epoch."""
    sets = {"data": Built("cifar10-fifth"), "val": Built("cifar10-test")}
    run = {"data": sets["data"], "arch": ARCH, "size": 32, "batch_size": 256, "views": "simclr_cifar", "epochs": 5}
    knn = Measure("knn", {"task": "knn", "k": 20, **sets})
    for loader in ("webdataset", "folder", *["ffcv"] * installed("ffcv"), *["dali"] * installed("nvidia.dali")):
        options = {**run, **MOCO, "method": "moco", "loader": loader, "log_every": 1}
        yield Piece(f"{loader}-0", options, (knn,))
        yield Piece(f"{loader}_on_2_ranks-0", {**options, "ranks": 2}, (knn,))
        yield Piece(f"{loader}_killed-0", {**options, "save_every": 10}, (knn,), killed_at=2 * STEPS + 17)


LOADERS = Experiment("loaders", "one run through every loader, on two processes, killed and resumed", tuple(pieces()))
