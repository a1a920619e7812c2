"""Shell completion of the command `viewstream`, from the parsers of its programs, by the library shtab."""

import argparse
import importlib
from collections.abc import Sequence

import shtab

from viewstream.shards.cli import parser_of
from viewstream.shards.errors import UserError, choose
from viewstream.shards.programs import CONSOLE, PROGRAMS

OTHER = "torchrun"  # whose options are not ours
SHELLS = ("bash", "zsh")  # in others shtab completes no options


def complete(words: Sequence[str]) -> None:
    """Print the script for a shell. UserError for any other word than its name."""
    if len(words) != 1:
        raise UserError(f"completion takes the name of a shell: {CONSOLE} completion bash > ~/.{CONSOLE}")
    print(shtab.complete(whole_parser(), choose("shell", words[0], SHELLS)))


def whole_parser() -> argparse.ArgumentParser:
    """One parser whose commands are the programs; training and evaluation with the options of their defaults."""
    whole = argparse.ArgumentParser(CONSOLE)
    commands = whole.add_subparsers()
    for name, program in PROGRAMS.items():
        own = [parser_of(importlib.import_module(program.module).main)] if name != OTHER else []
        commands.add_parser(name, parents=own, help=program.about, add_help=not own)
    return whole
