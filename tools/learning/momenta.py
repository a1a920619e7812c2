"""How fast a teacher should follow in short runs: momenta tried with 40,000 training images, tested on the others."""

from collections.abc import Iterator

from viewstream.tools.learning.cifar import METHODS
from viewstream.tools.learning.plan import Built, Experiment, Measure, Piece

TRIED: dict[str, tuple[float, ...]] = {
    "byol": (0.97, 0.9, 0.8, 0.6),
    "sts": (0.97, 0.9, 0.67, 0.33, 0.0),
    "m2t": (0.97, 0.9, 0.8, 0.6, 0.4),
}
EPOCHS = 8


def pieces() -> Iterator[Piece]:
    """Each momentum of each method, half as long as in cifar.py."""
    of = {name: options for name, _, options in METHODS}
    sets = {"data": Built("cifar10-most"), "val": Built("cifar10-rest")}
    knn = Measure("knn", {"task": "knn", "k": 20, **sets})
    for name, momenta in TRIED.items():
        for momentum in momenta:
            run = {**of[name], "data": sets["data"], "epochs": EPOCHS, "key_momentum": momentum, "seed": 0}
            yield Piece(f"{name}_{momentum:g}-0", run, (knn,))


MOMENTA = Experiment("momenta", "how fast the teacher of BYOL, STS and M2T should follow", tuple(pieces()))
