"""The programs of this project: a name for the command `viewstream`, the file in a checkout, what it does."""

import re
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

CONSOLE = "viewstream"
ROOT = Path(__file__).parents[1]


class Program(NamedTuple):
    """A program by its file, as `python FILE` runs it in a checkout. `works`: what it prints is about files that it
    makes; others print an answer."""

    file: str
    about: str
    works: bool = False

    @property
    def module(self) -> str:
        return f"{CONSOLE}.{self.file.removesuffix('.py').replace('/', '.')}"


PROGRAMS = {
    "build": Program("tools/build_shards.py", "make a set of shards from images", works=True),
    "index": Program("tools/index_shards.py", "make a set of tars or .beton files that others wrote", works=True),
    "inspect": Program("tools/inspect_shards.py", "show a set as a table and a figure"),
    "verify": Program("tools/verify_shards.py", "compare sets, runs and caches with their digests, and repair sets"),
    "stage": Program("tools/stage_shards.py", "copy a set to a disk of this node, checked", works=True),
    "look": Program("tools/look.py", "draw the views of a recipe, by every renderer"),
    "static": Program("tools/make_static.py", "make a static augmented set", works=True),
    "train": Program("trainers/train.py", "train on a set", works=True),
    "eval": Program("trainers/evaluate.py", "evaluate a checkpoint"),
    "torchrun": Program(
        "trainers/torchrun.py", "train on several machines: torchrun for `-m viewstream train`", works=True
    ),
    "runs": Program("tools/runs.py", "list the runs in a folder"),
    "compare": Program("tools/compare.py", "compare runs: options, numbers, curves"),
    "replay": Program("tools/replay.py", "show the images and views of a step of a run"),
    "report": Program("tools/report.py", "write a page about runs: curves, views, neighbors, results"),
    "doctor": Program("tools/doctor.py", "try what works here, for bug reports too"),
    "convert": Program("tools/convert_checkpoint.py", "turn checkpoints into those of other projects, and back"),
    "plan": Program("tools/plan.py", "say which loader, how many cores and what speed to expect"),
    "bench": Program("tools/bench/suite.py", "measure speed beside floors and other programs"),
    "experiments": Program(
        "tools/experiments.py", "show what the methods learn on images that anyone can get", works=True
    ),
    "textures": Program("tools/textures.py", "draw images of known classes, which the demo trains on", works=True),
    "demo": Program("tools/demo.py", "generated images, shards, training and kNN in two minutes", works=True),
}


FILES = {program.file: name for name, program in PROGRAMS.items()}
TYPED = re.compile(r"(?:python|torchrun) ((?:tools|trainers)/[\w/]+\.py)")


def answers() -> bool:
    """Whether the program that runs prints an answer."""
    name = sys.argv[0].removeprefix(f"{CONSOLE} ") if sys.argv else ""
    path = Path(name).resolve()
    file = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else ""
    found = PROGRAMS.get(name) or PROGRAMS.get(FILES.get(file, ""))
    return not (found and found.works)


def command(program: str, *words: object) -> str:
    """The line that runs a program of this project, as `python tools/look.py` with `words`; these are quoted where a
    shell would read them differently."""
    return as_typed(shlex.join([*program.split(), *map(str, words)]))


def as_typed(text: str) -> str:
    """`text` with its programs as the user calls them: `python tools/look.py` is `viewstream look` for those who have
    come in by that command, and may have no checkout."""
    return TYPED.sub(lambda found: " ".join(_named(found[1]) or [found[0]]), text)


def started(file: str) -> list[str]:
    """What starts a program of this project from another one, whatever folder the user is in."""
    named = _named(file)
    return [sys.executable, *(["-m", *named] if named else [str(ROOT / file)])]


def _named(file: str) -> list[str]:
    """The words of a program for those who have come in by the command `viewstream`; none for others."""
    return [CONSOLE, FILES[file]] if sys.argv[0].startswith(f"{CONSOLE} ") and file in FILES else []
