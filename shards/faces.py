"""How a package hands on names from its rooms: each is imported when it is first used."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from .errors import missing


def hand_on(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A module-level `__getattr__` (PEP 562) for `package`: `homes` maps each name to the module that defines it.

    A name that needs a package of an absent extra raises a UserError that names the extra.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            return getattr(import_module(homes[name], package), name)
        except ModuleNotFoundError as error:
            raise missing(error) or error from error

    return find
