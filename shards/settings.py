"""Options from a file: a mapping of YAML or JSON, such as the `config.json` of a run. Flags of the command line win."""

import argparse
import json
from pathlib import Path
from typing import Any

import yaml

from .errors import UserError, choose
from .unpack import parsed_json

SECTIONS = ("recipe", "run")  # of a config.json
DERIVED = ("data", "precision", "threads", "environment")  # its other values, which follow from these


def from_file(path: Path, parser: argparse.ArgumentParser, *, only_known: bool = False) -> argparse.Namespace:
    """The values of flags of `parser` that a file names, checked as those of the command line are.

    UserError for a name that is no flag (`only_known`: they are left to another parser), and for a value that does not
    fit it.
    """
    actions = {a.dest: a for a in parser._actions if a.option_strings and a.dest not in ("help", "config", "quiet")}
    values = argparse.Namespace()
    for name, value in _mapping(path).items():
        dest = str(name).replace("-", "_")
        if dest not in actions:
            if not only_known:
                _unknown(path, dest, [*actions])
        elif value is not None:
            setattr(values, dest, _value(path, actions[dest], value))
    return values


def _unknown(path: Path, name: str, names: list[str]) -> None:
    try:
        choose("option", name, names, all_in="--help")
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _mapping(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
        page = parsed_json(text.encode()) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): name a file of options with --config") from error
    except (ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path} is no YAML or JSON ({error}): write lines like `lr: 0.06`") from error
    page = {} if page is None else page
    if isinstance(page, dict) and page.keys() & {*SECTIONS}:
        page = _of_sections(path, page)
    if not isinstance(page, dict):
        raise UserError(f"{path} is no mapping of options to values: write lines like `lr: 0.06`")
    return page


def _of_sections(path: Path, page: dict[str, Any]) -> dict[str, Any]:
    """The options in the sections of a `config.json`. UserError for others beside them."""
    if others := page.keys() - {*SECTIONS, *DERIVED}:
        names = ", ".join(sorted(map(str, others)))
        raise UserError(f"{path}: {names} stands beside {' and '.join(SECTIONS)}: move it into one of them")
    parts = {section: {} if page.get(section) is None else page[section] for section in SECTIONS}
    for section, part in parts.items():
        if not isinstance(part, dict):
            raise UserError(
                f"{path}: {section} is no mapping of options to values: write lines like `  lr: 0.06` below it"
            )
    return {name: value for part in parts.values() for name, value in part.items()}


def _value(path: Path, action: argparse.Action, value: Any) -> Any:
    """A value as its flag would have it."""
    if isinstance(action, argparse.BooleanOptionalAction):
        if isinstance(value, bool):
            return value
        raise UserError(f"{path}: {action.dest} is true or false, not {value!r}")
    if isinstance(value, bool) and action.nargs == "?":
        return value
    if isinstance(value, dict):
        raise UserError(f"{path}: {action.dest} takes a value, not a mapping")
    word = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    assert callable(action.type)
    try:
        return action.type(word)
    except argparse.ArgumentTypeError as error:
        raise UserError(f"{path}: {action.dest}: {error}") from error


def as_yaml(**sections: dict[str, Any]) -> str:
    """The text of a file of options."""
    return yaml.safe_dump(json.loads(json.dumps(sections, default=str)), sort_keys=False, allow_unicode=True)
