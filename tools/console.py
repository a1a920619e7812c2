"""The command `viewstream`: every program of this project by one name. A program is imported when it is called."""

import importlib
import sys
from importlib.metadata import version

from viewstream.shards.cli import run
from viewstream.shards.errors import choose
from viewstream.shards.programs import CONSOLE, PROGRAMS

COMPLETION = "completion"
ABOUT = f"""Sharded images in, a stream of augmented views out, self-supervised trainers on top.

  {CONSOLE} COMMAND ...         {CONSOLE} COMMAND --help lists its options
"""


def listing() -> str:
    """What `viewstream --help` prints."""
    lines = [(name, program.about) for name, program in PROGRAMS.items()]
    lines.append((COMPLETION, "print what completes these commands in bash or zsh"))
    return "\n".join([ABOUT, *(f"  {name:<12}{about}" for name, about in lines)])


def main() -> None:
    name, *words = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(listing())
    elif name == "--version":
        print(CONSOLE, version(CONSOLE))
    elif name == COMPLETION:
        from viewstream.tools.completion import complete

        complete(words)
    else:
        program = PROGRAMS[choose("command", name, [*PROGRAMS, COMPLETION], all_in="--help")]
        sys.argv[:] = [f"{CONSOLE} {name}", *words]  # what help and messages call the program
        importlib.import_module(program.module).main()


def start() -> None:
    """The entry of the console script."""
    run(main)
