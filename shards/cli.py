"""Command lines from frozen dataclasses: one flag per field; `Annotated[int, "help", 1]` gives help text and minimum.

`Annotated[Path, "help", Positional]` is a required word without a flag; of `tuple[Path, ...]`, one or more words. A
field of type `bool | Literal["release"]` is a flag that is true alone and may take the word; one of type
`int | Literal["auto"]` takes a number or the word.
"""

import argparse
import dataclasses
import difflib
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_args, get_origin, get_type_hints

from .errors import UserError
from .exits import hush
from .exits import run as run
from .messages import QUIET
from .programs import answers, as_typed
from .values import converter, metavar


@dataclasses.dataclass(frozen=True)
class Renamed:
    """Marks a field whose flag had another name before, which still works: `Renamed("recipe")` keeps `--recipe`."""

    old: str


class Positional:
    """Marks a field that is given by its place, as RUN in `replay.py RUN`, or by name; its default is never used."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (--help lists the options)")


def parse(*options: Any, argv: Sequence[str] | None = None, description: str, of: str = "") -> tuple[Any, ...]:
    """Copies of the dataclass instances `options`: their values are the defaults, the command line changes some.

    UserError for an unknown flag, with the words `of` that chose the options, or a value that does not fit its field.
    """
    parser = _Parser(
        description=as_typed(description), allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for instance in options:
        section = parser.add_argument_group((type(instance).__doc__ or "").partition("\n")[0])
        _add_flags(section, instance)
    words = [str(action.metavar) for action in parser._get_positional_actions()]
    parser.usage = " ".join(["%(prog)s", "[options]", *words])  # the sections list every flag
    _add_config(parser)
    argv = _placed(sys.argv[1:] if argv is None else argv, parser)
    parsed, unknown = parser.parse_known_args(argv, _configured(parser, argv))
    for word in unknown:
        _refuse(word.partition("=")[0], parser, of)
    if parsed.quiet:
        os.environ[QUIET] = "answer" if answers() else "all"
        hush()
    given = {name: tuple(v) if isinstance(v, list) else v for name, v in vars(parsed).items()}
    fields = [{field.name for field in _flags(instance)} for instance in options]
    return tuple(
        dataclasses.replace(instance, **{k: v for k, v in given.items() if k in own})
        for instance, own in zip(options, fields, strict=True)
    )


def _placed(argv: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """Words without the names of fields that have a place: `--run RUN` is RUN."""
    names = [f"--{action.dest}" for action in parser._get_positional_actions()]
    return [word.partition("=")[2] if word.partition("=")[0] in names else word for word in argv if word not in names]


def _refuse(word: str, parser: argparse.ArgumentParser, of: str) -> NoReturn:
    """UserError for a word that is no option, with the nearest one."""
    names = [name for name in parser._option_string_actions if word.startswith("-")]
    near = difflib.get_close_matches(word, names, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise UserError(f"unknown option {word!r}{f' {of}' if of else ''}: {hint}--help lists the options")


def parser_of(main: Callable[[], None]) -> argparse.ArgumentParser:
    """The parser that a program makes when it is asked for help."""
    made: list[argparse.ArgumentParser] = []
    words, show = sys.argv, _Parser.print_help
    sys.argv, _Parser.print_help = [words[0], "--help"], lambda self, file=None: made.append(self)
    try:
        with suppress(SystemExit):
            main()
    finally:
        sys.argv, _Parser.print_help = words, show
    return made[0]


def peek(options: Any, argv: Sequence[str] | None = None) -> Any:
    """A copy of `options` with the values of its own flags on the command line; all other words wait for `parse`."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    _add_flags(parser, options)
    _add_config(parser)
    given = parser.parse_known_args(argv, _configured(parser, argv, only_known=True))[0]
    return dataclasses.replace(
        options, **{name: value for name, value in vars(given).items() if name not in ("config", "quiet")}
    )


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML or JSON of options; flags win")
    parser.add_argument("--quiet", action="store_true", help="print no progress and no notes; only answers and errors")


def _configured(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, *, only_known: bool = False
) -> argparse.Namespace:
    """The options of the file that the command line names, if it names one."""
    first = _Parser(add_help=False, allow_abbrev=False)
    _add_config(first)
    file = first.parse_known_args(argv)[0].config
    if file is None:
        return argparse.Namespace()
    from .settings import from_file

    return from_file(file, parser, only_known=only_known)


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
        if get_origin(hint) is tuple:
            kwargs |= {"type": converter(get_args(hint)[0], minimum), "nargs": "+"}
        section.add_argument(field.name, **kwargs | {"metavar": field.name.upper(), "help": text.replace("%", "%%")})
        return
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    text += f" ({shown})" if default not in (None, "", False, ()) else ""
    text += "".join(f"; --{name} is its old name" for name in old)
    flags = [f"--{name.replace('_', '-')}" for name in (field.name, *old)]
    section.add_argument(*flags, dest=field.name, help=as_typed(text).replace("%", "%%"), **kwargs)
