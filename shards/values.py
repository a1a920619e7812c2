"""From a word of the command line to the value of a dataclass field, by the field's type."""

import argparse
import types
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin

from .errors import UserError, choose


def metavar(hint: Any) -> str:
    """How help and messages show a value of type `hint`: N, X, TEXT, or the words to choose from."""
    literals, hint = _literals(hint), _main_type(hint)
    if hint in (int, float) and literals:
        return "|".join([metavar(hint), *literals])
    if get_origin(hint) is Literal:
        return "|".join(map(str, get_args(hint)))
    if get_origin(hint) is tuple:
        return metavar(get_args(hint)[0]) + ",..."
    return {int: "N", float: "X"}.get(hint, "TEXT")


def converter(hint: Any, minimum: float | None = None) -> Callable[[str], Any]:
    """The function from a word to a value of type `hint`; argparse adds the flag to its ArgumentTypeErrors."""
    form, literals, hint = metavar(hint), _literals(hint), _main_type(hint)

    def convert(word: str) -> Any:
        if hint in (int, float) and word in literals:
            return word
        if get_origin(hint) is Literal:
            try:
                return choose("value", word, get_args(hint))
            except UserError as error:  # argparse would replace the message of a ValueError
                raise argparse.ArgumentTypeError(str(error)) from error
        if get_origin(hint) is tuple:
            part = converter(get_args(hint)[0], minimum)
            return tuple(part(w) for w in word.split(",") if w)
        try:
            value = hint(word)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{word!r} is not of the form {form}") from error
        if minimum is not None and not value >= minimum:
            raise argparse.ArgumentTypeError(f"{word} is less than {minimum}")
        return value

    return convert


def _main_type(hint: Any) -> Any:
    """`int` for `int | None`, `Literal["release"]` for `bool | Literal["release"]`."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(a for a in get_args(hint) if a not in (bool, type(None)))
    return hint


def _literals(hint: Any) -> list[Any]:
    """`["auto"]` for `int | Literal["auto"]`."""
    return [word for part in get_args(hint) if get_origin(part) is Literal for word in get_args(part)]
