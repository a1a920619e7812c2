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
HELP = f"""usage: {CONSOLE} completion SHELL

Print what completes the commands and options of {CONSOLE} in a shell: bash or zsh.

  {CONSOLE} completion bash > ~/.{CONSOLE}-completion    (and in ~/.bashrc: source ~/.{CONSOLE}-completion)"""


def complete(words: Sequence[str]) -> None:
    """Print the script for a shell, or the help. UserError for any other word than the name of a shell."""
    if words and words[0] in ("-h", "--help"):
        print(HELP)
        return
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
