"""Command lines from frozen dataclasses: one flag per field; `Annotated[int, "help", 1]` gives help text and minimum.

`Annotated[Path, "help", Positional]` is a required word without a flag. A field of type `bool | Literal["release"]` is
a flag that is true alone and may take the word; one of type `int | Literal["auto"]` takes a number or the word.
"""

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn, get_args, get_origin, get_type_hints

from .errors import UserError, choose, missing
from .values import converter, metavar


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
    """Copies of the dataclass instances `options`: their values are the defaults, the command line changes some.

    UserError for an unknown flag or a value that does not fit its field.
    """
    parser = _Parser(description=description, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    for instance in options:
        section = parser.add_argument_group((type(instance).__doc__ or "").partition("\n")[0])
        _add_flags(section, instance)
    parsed, unknown = parser.parse_known_args(argv)
    for word in unknown:
        choose("option", word.partition("=")[0], parser._option_string_actions)
    given = vars(parsed)
    fields = [{field.name for field in _flags(instance)} for instance in options]
    return tuple(
        dataclasses.replace(instance, **{k: v for k, v in given.items() if k in own})
        for instance, own in zip(options, fields, strict=True)
    )


def peek(options: Any, argv: Sequence[str] | None = None) -> Any:
    """A copy of `options` with the values of its own flags on the command line; all other words wait for `parse`."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    _add_flags(parser, options)
    return dataclasses.replace(options, **vars(parser.parse_known_args(argv)[0]))


def run(main: Callable[[], None]) -> None:
    """Run a program: a UserError becomes one line and exit code 2; VIEWSTREAM_TRACE=1 shows where it was raised."""
    try:
        main()
    except (UserError, ModuleNotFoundError) as error:
        message = missing(error) if isinstance(error, ModuleNotFoundError) else error
        if message is None or os.environ.get("VIEWSTREAM_TRACE"):
            raise
        ranks = int(os.environ.get("WORLD_SIZE", "1"))
        where = f" on rank {os.environ['RANK']}" if ranks > 1 else ""
        print(f"error{where}: {message}", file=sys.stderr, flush=True)
        if ranks > 1:
            os._exit(2)  # an orderly exit from the process group would wait for peers that wait for this rank
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _flags(options: Any) -> list[dataclasses.Field[Any]]:
    """The fields that are flags: those that `__init__` takes; the class itself sets the others."""
    return [field for field in dataclasses.fields(options) if field.init]


def _add_flags(section: argparse._ActionsContainer, options: Any) -> None:
    hints = get_type_hints(type(options), include_extras=True)
    for field in _flags(options):
        _add_flag(section, field, hints[field.name], getattr(options, field.name))


def _add_flag(section: argparse._ActionsContainer, field: dataclasses.Field[Any], hint: Any, default: Any) -> None:
    text, marks = "", []
    if get_origin(hint) is Annotated:
        hint, text, *marks = get_args(hint)
    minimum = next((mark for mark in marks if isinstance(mark, int | float)), None)
    old = [mark.old for mark in marks if isinstance(mark, Renamed)]
    kwargs: dict[str, Any] = {"default": argparse.SUPPRESS}
    if hint is bool:
        kwargs |= {"action": argparse.BooleanOptionalAction}
    else:
        kwargs |= {"type": converter(hint, minimum), "metavar": metavar(hint)}
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
