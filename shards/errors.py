"""What a person did wrong, said in one line: fact, reason, remedy. The one module every room may import."""

import difflib
import importlib
from collections.abc import Iterable
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


def needs(module: str, extra: str) -> ModuleType:
    """Import `module`, or say which extra of this project installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise  # the package is there and is itself broken: its own message says more than ours could
        raise UserError(f"{module} is not installed: pip install 'viewstream[{extra}]' brings it") from None
