"""Errors for the user: one line with fact, reason and remedy. Every room may import this module."""

import difflib
import importlib
from collections.abc import Iterable
from importlib.util import find_spec
from types import ModuleType

from .programs import as_typed
from .programs import command as command
from .redaction import redacted

GLANCE = 24  # names


class UserError(ValueError):
    """An error that the user can fix; programs print it and exit with code 2, without a stack trace.

    Passwords and tokens of addresses in its message are hidden."""

    def __init__(self, message: object = ""):
        super().__init__(as_typed(redacted(" ".join(str(message).splitlines()))))  # libraries write several lines


def plural(number: int, noun: str) -> str:
    """A number of things, for messages: "1 image", "2,000 images", "0 classes"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "es" if noun.endswith("s") else "s")


def choose(kind: str, name: str, options: Iterable[str], all_in: str = "") -> str:
    """Return `name` if it is one of `options`; otherwise raise UserError with the nearest names, and all of them if
    these can be read at a glance, or with the place that lists them, `all_in`."""
    options = list(options)
    if name in options:
        return name
    near = difflib.get_close_matches(name, options, n=2, cutoff=0.5)
    words = [f"did you mean {' or '.join(map(repr, near))}?"] * bool(near)
    if all_in:
        words.append(f"{all_in} lists them")
    elif len(options) <= GLANCE or not near:
        words.append(f"there are {', '.join(options)}")
    raise UserError(f"unknown {kind} {name!r}: {' '.join(words)}")


# Package -> the extra of this project that installs it.
EXTRAS: dict[str, str] = {
    "nvidia": "dali",
    "ffcv": "ffcv",
    "nvidia.dali": "dali",
    "torchcodec": "nvjpeg",
    "ray": "cluster",
    "fsspec": "remote",
    "aiohttp": "remote",
    "tensorboard": "log",
    "wandb": "log",
    "sklearn": "tsne",
    "safetensors": "train",
    "plotly": "report",
    "plotly.offline": "report",
    "plotly.graph_objects": "report",
}
for _package in ("torch", "torchvision", "kornia", "numba", "timm", "webdataset", "matplotlib"):
    EXTRAS[_package] = "train"


def missing(error: ModuleNotFoundError) -> UserError | None:
    """The UserError for a package of one of our extras that is not installed; None for any other module."""
    if error.name not in EXTRAS:  # e.g. a module inside an installed package: its own message says more than ours
        return None
    return UserError(f"{error.name} is not installed: pip install 'viewstream[{EXTRAS[error.name]}]' brings it")


def needs(module: str) -> ModuleType:
    """Import a module of an extra; UserError names the extra that installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise missing(error) or error from error


def installed(module: str) -> bool:
    """Whether `module` can be imported; unlike find_spec, it is False if a parent package is absent."""
    parent = module.rpartition(".")[0]
    try:
        return (not parent or installed(parent)) and find_spec(module) is not None
    except ModuleNotFoundError:  # from an import hook that hides a package
        return False
