"""How a package hands on names from its rooms: each is imported when it is first used."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def hand_on(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A module-level `__getattr__` (PEP 562) for `package`: `homes` maps each name to the module that defines it."""

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name], package), name)

    return find
