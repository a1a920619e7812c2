"""What the host's work for a training costs, from the figures of `make bench PART=costs`, for plan.py.

    decode         a + b megapixels + c kilobytes        of the JPEG: bits are decoded, then pixels made
    cut, a view    a + b S^2 + c source + d S sqrt(source)   S px the view's side, source the megapixels of its box: the
                   vertical pass blends whole rows of the source for each of S rows, the horizontal pass writes S^2 px
    draw           a + b views
    handing over   what a loader takes beside its draws when the images are pixels of 16 x 16 in memory

Coefficients are fitted to the relative error. Everything is processor time of one core of the machine that measured, us
per image. A random crop covers its mean share of the image.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from viewstream.augment.spec import RandomResizedCrop, Views, size_of
from viewstream.shards.errors import UserError

# isort: split
import numpy as np

STAGES = ("read", "decode", "cut", "draw", "handing over")
KILOBYTES = 280.0  # per megapixel of a photograph at quality 90 (ffcv's ImageNet sets: 31 kB at 384 px, 51 at 512)

WAYS = ({}, {"crops": "device"}, {"decode": "gpu"})  # what a GPU can take off the host, from nothing to most


class Image(NamedTuple):
    """A stored JPEG, on average."""

    megapixels: float
    kilobytes: float


@dataclass(frozen=True)
class Costs:
    """The stages' costs as functions of what they depend on."""

    read: Mapping[str, float]  # by reader
    decode: Callable[[Image], float]
    cut: Callable[[int, float], float]  # side of the view, megapixels of its box
    draw: Callable[[int], float]  # number of views
    handing_over: float
    machine: str

    def host(
        self, image: Image, views: Views, reader: str, *, crops: str = "host", decode: str = "cpu"
    ) -> dict[str, float]:
        """us per image and stage; `crops` "device" leaves the views to a GPU, `decode` "gpu" the JPEGs too."""
        cut = sum(self.cut(size_of(view), image.megapixels * _share(view)) for view in views)
        found = {
            "read": self.read[reader],
            "decode": self.decode(image) if decode == "cpu" else 0.0,
            "cut": cut if crops == "host" and decode == "cpu" else 0.0,
            "draw": self.draw(len(views)),
            "handing over": self.handing_over,
        }
        return found

    @classmethod
    def load(cls, path: Path) -> "Costs":
        """The costs that `path` holds figures of; UserError without them."""
        if not path.exists():
            raise UserError(f"{path} is missing, which holds what the stages cost: `make bench PART=costs` measures it")
        groups = json.loads(path.read_text())
        decode = _fitted(groups["decode"], lambda about: (1, about["megapixels"], about["kilobytes"]))
        cut = _fitted(groups["cut"], lambda about: _terms(about["view"], about["megapixels"]))
        draw = _fitted(groups["draw"], lambda about: (1, about["views"]))
        whole = _medians(groups["handing_over"])["two views of 16 px"]
        on = groups["decode"]["on"]
        return cls(
            _medians(groups["read"]),
            lambda image: float(np.dot(decode, (1, *image))),
            lambda size, megapixels: float(np.dot(cut, _terms(size, megapixels))),
            lambda views: float(np.dot(draw, (1, views))),
            max(0.0, float(whole - np.dot(draw, (1, 2)))),
            f"{on['cpu']}, commit {on['commit']}",
        )


class Way(NamedTuple):
    """How the host works, and us per image and stage."""

    options: dict[str, str]
    stages: dict[str, float]

    @property
    def flags(self) -> str:
        return " ".join(f"--{name} {value}" for name, value in self.options.items()) or "--crops host"

    @property
    def rate(self) -> float:
        """Images/s of one core."""
        return 1e6 / sum(self.stages.values())


def ways(costs: Costs, image: Image, views: Views, reader: str = "ffcv") -> list[Way]:
    """What the host can do, from all the work to the least."""
    return [Way(options, costs.host(image, views, reader, **options)) for options in WAYS]


def of_side(side: int) -> Image:
    """A photograph of 4 to 3 whose longest side is `side` px, at quality 90."""
    megapixels = 0.75 * side * side / 1e6
    return Image(megapixels, megapixels * KILOBYTES)


def _share(view: Sequence[Any]) -> float:
    """The mean share of an image that a view shows."""
    crop = view[0]
    return sum(crop.area) / 2 if isinstance(crop, RandomResizedCrop) else 1.0


def _terms(size: float, megapixels: float) -> tuple[float, float, float, float]:
    return 1.0, size * size / 1e6, megapixels, size * megapixels**0.5 / 1e3


def _medians(group: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(np.median(values)) for name, values in group["cpu"].items()}


def _fitted(group: Mapping[str, Any], terms: Callable[[Mapping[str, float]], Sequence[float]]) -> np.ndarray:
    """The coefficients of `terms` of what each case depends on, by least squares of the relative error."""
    costs = _medians(group)
    rows = np.array([terms(group["about"][name]) for name in costs]) / np.array([*costs.values()])[:, None]
    return np.linalg.lstsq(rows, np.ones(len(rows)), rcond=None)[0]
