"""The parts of an experiment: sets, pieces that are trained, and what is measured of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Built(NamedTuple):
    """A set in the working folder, as the value of an option."""

    name: str

    def __str__(self) -> str:
        return f"sets/{self.name}"


class Weights(NamedTuple):
    """The last checkpoint of another piece, as the value of an option."""

    piece: str

    def __str__(self) -> str:
        return f"runs/{self.piece}/last.pt"


Options = Mapping[str, object]  # of a program: `batch_size` is --batch-size; True stands alone


@dataclass(frozen=True)
class Measure:
    """Numbers of a network: options of evaluate.py, or without a task those of train.py, for a run of its own.

    The rate is searched among `rates` and beyond: the one with the highest `by` when measured with `held_out` too."""

    name: str
    options: Options
    rates: tuple[float, ...] = ()
    held_out: Options | None = None
    by: str = "best top1"
    classes: bool = False  # keep the accuracy of each class too
    picture: str = ""  # a figure that evaluate.py draws, kept too: PIECE-NAME.png


@dataclass(frozen=True)
class Piece:
    """A run, by options of train.py, and its measures; or, without such options, measures of the network of `of`."""

    name: str  # GROUP-SEED; pieces of a group are one row of a table
    training: Options
    measures: tuple[Measure, ...] = ()
    of: str = ""
    killed_at: int = 0  # the step at which the training is killed, to go on from its last checkpoint

    @property
    def group(self) -> str:
        return self.name.rpartition("-")[0]

    @property
    def sets(self) -> list[str]:
        """The sets that its options name."""
        pages = [self.training, *(o for measure in self.measures for o in (measure.options, measure.held_out or {}))]
        return [*dict.fromkeys(value.name for page in pages for value in page.values() if isinstance(value, Built))]

    @property
    def needs(self) -> list[str]:
        """The pieces whose weights this one takes."""
        taken = [value.piece for value in self.training.values() if isinstance(value, Weights)]
        return [*taken, self.of] if self.of else taken


@dataclass(frozen=True)
class Experiment:
    """Pieces that belong together."""

    name: str
    about: str
    pieces: tuple[Piece, ...]

    def piece(self, name: str) -> Piece:
        return next(piece for piece in self.pieces if piece.name == name)
