"""Command lines from frozen dataclasses: a flag a field, `Annotated[int, "help", 1]` its help text and least value.

`Annotated[Path, "help", Positional]` is a word without a flag that has to be there; a field of type
`bool | Literal["release"]` a flag that is true alone and may take the word, one of type `int | Literal["auto"]` a
number or the word.
"""

import argparse
import dataclasses
import os
import sys
import types
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from .errors import UserError, choose, missing


class Positional:
    """Marks a field that is given by its place, as DIR in `inspect_shards.py DIR`; its default is never used."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (--help lists the options)")


def parse(*options: Any, words: Sequence[str] | None = None, about: str) -> tuple[Any, ...]:
    """Copies of the dataclass instances `options`: their values are the defaults, the command line changes some."""
    parser = _Parser(description=about, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    for one in options:
        hints = get_type_hints(type(one), include_extras=True)
        section = parser.add_argument_group((type(one).__doc__ or "").partition("\n")[0])
        for field in _flags(one):
            _add(section, field, hints[field.name], getattr(one, field.name))
    parsed, unknown = parser.parse_known_args(words)
    for word in unknown:
        choose("option", word.partition("=")[0], parser._option_string_actions)
    given = vars(parsed)
    fields = [{f.name for f in _flags(one)} for one in options]
    return tuple(
        dataclasses.replace(one, **{k: v for k, v in given.items() if k in own})
        for one, own in zip(options, fields, strict=True)
    )


def peek(options: Any, words: Sequence[str] | None = None) -> Any:
    """A copy of `options` changed by those of its flags that the command line has; all other words wait for `parse`."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    hints = get_type_hints(type(options), include_extras=True)
    for field in _flags(options):
        _add(parser, field, hints[field.name], getattr(options, field.name))
    return dataclasses.replace(options, **vars(parser.parse_known_args(words)[0]))


def _flags(options: Any) -> list[dataclasses.Field[Any]]:
    """Fields that are options; one that `__init__` does not take is given by the class."""
    return [field for field in dataclasses.fields(options) if field.init]


def _add(section: argparse._ActionsContainer, field: dataclasses.Field[Any], hint: Any, default: Any) -> None:
    text, marks = "", []
    if get_origin(hint) is Annotated:
        hint, text, *marks = get_args(hint)
    least = next((mark for mark in marks if mark is not Positional), None)
    how: dict[str, Any] = {"default": argparse.SUPPRESS}
    if hint is bool:
        how |= {"action": argparse.BooleanOptionalAction}
    else:
        how |= {"type": _reader(hint, least), "metavar": _metavar(hint)}
    if bool in get_args(hint):
        how |= {"nargs": "?", "const": True}
    if Positional in marks:
        section.add_argument(field.name, **how | {"metavar": field.name.upper(), "help": text.replace("%", "%%")})
        return
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    text += f" ({shown})" if default not in (None, "", False, ()) else ""
    flag = f"--{field.name.replace('_', '-')}"
    section.add_argument(flag, dest=field.name, help=text.replace("%", "%%"), **how)


def _plain(hint: Any) -> Any:
    """`int` for `int | None`, `Literal["release"]` for `bool | Literal["release"]`."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(a for a in get_args(hint) if a not in (bool, type(None)))
    return hint


def _words(hint: Any) -> list[Any]:
    """`["auto"]` of `int | Literal["auto"]`."""
    return [word for part in get_args(hint) if get_origin(part) is Literal for word in get_args(part)]


def _metavar(hint: Any) -> str:
    if _plain(hint) is int and (words := _words(hint)):
        return "|".join(["N", *words])
    hint = _plain(hint)
    if get_origin(hint) is Literal:
        return "|".join(map(str, get_args(hint)))
    if get_origin(hint) is tuple:
        return _metavar(get_args(hint)[0]) + ",..."
    return {int: "N", float: "X"}.get(hint, "TEXT")


def _reader(hint: Any, least: Any = None) -> Callable[[str], Any]:
    """From a word to the field's value; the complaints are argparse's, which names the flag."""
    words, hint = _words(hint), _plain(hint)

    def read(word: str) -> Any:
        if hint is int and word in words:
            return word
        if get_origin(hint) is Literal:
            try:
                return choose("value", word, get_args(hint))
            except UserError as error:  # argparse would replace a ValueError's own words
                raise argparse.ArgumentTypeError(str(error)) from None
        if get_origin(hint) is tuple:
            one = _reader(get_args(hint)[0], least)
            return tuple(one(w) for w in word.split(",") if w)
        try:
            value = hint(word)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{word!r} is not of the form {_metavar(hint)}") from None
        if least is not None and not value >= least:
            raise argparse.ArgumentTypeError(f"{word} is less than {least}")
        return value

    return read


def run(main: Callable[[], None]) -> None:
    """Run a program: a UserError becomes one line and exit code 2; VIEWSTREAM_TRACE=1 shows where it was raised."""
    try:
        main()
    except (UserError, ModuleNotFoundError) as error:
        said = missing(error) if isinstance(error, ModuleNotFoundError) else error
        if said is None or os.environ.get("VIEWSTREAM_TRACE"):
            raise
        ranks = int(os.environ.get("WORLD_SIZE", "1"))
        where = f" on rank {os.environ['RANK']}" if ranks > 1 else ""
        print(f"error{where}: {said}", file=sys.stderr, flush=True)
        if ranks > 1:
            os._exit(2)  # leaving the process group in order would wait for peers that wait for this rank
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
