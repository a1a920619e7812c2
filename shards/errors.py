"""What a person did wrong, said in one line: fact, reason, remedy. Every room may import this module."""

import difflib
import importlib
from collections.abc import Iterable
from importlib.util import find_spec
from types import ModuleType


class UserError(ValueError):
    """A mistake a person can mend; programs print it and exit with code 2, without a stack trace."""


def choose(kind: str, name: str, options: Iterable[str]) -> str:
    """`name` if it is one of `options`; otherwise UserError with the nearest names and the whole list."""
    options = list(options)
    if name in options:
        return name
    near = difflib.get_close_matches(name, options, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise UserError(f"unknown {kind} {name!r}: {hint}there are {', '.join(options)}")


# Package -> the extra of this project that brings it.
EXTRAS: dict[str, str] = {
    "nvidia": "dali",
    "ffcv": "ffcv",
    "nvidia.dali": "dali",
    "fsspec": "remote",
    "aiohttp": "remote",
    "tensorboard": "log",
    "wandb": "log",
    "sklearn": "tsne",
}
for _package in ("torch", "torchvision", "kornia", "numba", "timm", "webdataset", "matplotlib"):
    EXTRAS[_package] = "train"


def missing(error: ModuleNotFoundError) -> UserError | None:
    """What to do about a package of one of our extras that is not there; None for any other module."""
    if error.name not in EXTRAS:  # a module inside an installed package, say: its own message says more than ours
        return None
    return UserError(f"{error.name} is not installed: pip install 'viewstream[{EXTRAS[error.name]}]' brings it")


def needs(module: str) -> ModuleType:
    """Import a module of an extra, or say which one installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise missing(error) or error from error


def installed(module: str) -> bool:
    """Whether `module` can be imported; unlike find_spec, it is False if a parent package is absent."""
    parent = module.rpartition(".")[0]
    return (not parent or installed(parent)) and find_spec(module) is not None
