"""Command lines from frozen dataclasses: a flag a field, `Annotated[int, "help", 1]` its help text and minimum value.

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


@dataclasses.dataclass(frozen=True)
class Renamed:
    """Marks a field whose flag had another name before, which still works: `Renamed("recipe")` keeps `--recipe`."""

    old: str


class Positional:
    """Marks a field that is given by its place, as DIR in `inspect_shards.py DIR`; its default is never used."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (--help lists the options)")


def parse(*options: Any, argv: Sequence[str] | None = None, description: str) -> tuple[Any, ...]:
    """Copies of the dataclass instances `options`: their values are the defaults, the command line changes some."""
    parser = _Parser(description=description, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    for one in options:
        hints = get_type_hints(type(one), include_extras=True)
        section = parser.add_argument_group((type(one).__doc__ or "").partition("\n")[0])
        for field in _flags(one):
            _add(section, field, hints[field.name], getattr(one, field.name))
    parsed, unknown = parser.parse_known_args(argv)
    for word in unknown:
        choose("option", word.partition("=")[0], parser._option_string_actions)
    given = vars(parsed)
    fields = [{f.name for f in _flags(one)} for one in options]
    return tuple(
        dataclasses.replace(one, **{k: v for k, v in given.items() if k in own})
        for one, own in zip(options, fields, strict=True)
    )


def peek(options: Any, argv: Sequence[str] | None = None) -> Any:
    """A copy of `options` changed by those of its flags that the command line has; all other words wait for `parse`."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    hints = get_type_hints(type(options), include_extras=True)
    for field in _flags(options):
        _add(parser, field, hints[field.name], getattr(options, field.name))
    return dataclasses.replace(options, **vars(parser.parse_known_args(argv)[0]))


def _flags(options: Any) -> list[dataclasses.Field[Any]]:
    """Fields that are options; one that `__init__` does not take is given by the class."""
    return [field for field in dataclasses.fields(options) if field.init]


def _add(section: argparse._ActionsContainer, field: dataclasses.Field[Any], hint: Any, default: Any) -> None:
    text, marks = "", []
    if get_origin(hint) is Annotated:
        hint, text, *marks = get_args(hint)
    minimum = next((mark for mark in marks if isinstance(mark, int | float)), None)
    old = [mark.old for mark in marks if isinstance(mark, Renamed)]
    kwargs: dict[str, Any] = {"default": argparse.SUPPRESS}
    if hint is bool:
        kwargs |= {"action": argparse.BooleanOptionalAction}
    else:
        kwargs |= {"type": _reader(hint, minimum), "metavar": _metavar(hint)}
    if bool in get_args(hint):
        kwargs |= {"nargs": "?", "const": True}
    if Positional in marks:
        section.add_argument(field.name, **kwargs | {"metavar": field.name.upper(), "help": text.replace("%", "%%")})
        return
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    text += f" ({shown})" if default not in (None, "", False, ()) else ""
    text += "".join(f"; --{name} is its old name" for name in old)
    flags = [f"--{name.replace('_', '-')}" for name in (field.name, *old)]
    section.add_argument(*flags, dest=field.name, help=text.replace("%", "%%"), **kwargs)


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


def _reader(hint: Any, minimum: Any = None) -> Callable[[str], Any]:
    """From a word to the field's value; the complaints are argparse's, which names the flag."""
    words, hint = _words(hint), _plain(hint)

    def read(word: str) -> Any:
        if hint is int and word in words:
            return word
        if get_origin(hint) is Literal:
            try:
                return choose("value", word, get_args(hint))
            except UserError as error:  # argparse would replace a ValueError's own words
                raise argparse.ArgumentTypeError(str(error)) from error
        if get_origin(hint) is tuple:
            one = _reader(get_args(hint)[0], minimum)
            return tuple(one(w) for w in word.split(",") if w)
        try:
            value = hint(word)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{word!r} is not of the form {_metavar(hint)}") from error
        if minimum is not None and not value >= minimum:
            raise argparse.ArgumentTypeError(f"{word} is less than {minimum}")
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
