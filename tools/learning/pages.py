"""From the kept numbers of pieces to the tables and figures of README and docs/results.md."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from viewstream.shards.files import atomic
from viewstream.shards.programs import ROOT
from viewstream.tools.learning import EXPERIMENTS
from viewstream.tools.learning.figures import draw
from viewstream.tools.learning.tables import tables_of
from viewstream.tools.learning.work import KEPT

PAGES = ("README.md", "docs/results.md")


def kept(name: str, folder: Path = KEPT) -> dict[str, dict[str, Any]]:
    """What is kept of the pieces of an experiment, in their order."""
    files = {piece.name: folder / name / f"{piece.name}.json" for piece in EXPERIMENTS[name].pieces}
    return {piece: json.loads(file.read_text()) for piece, file in files.items() if file.exists()}


def tables(folder: Path = KEPT) -> dict[str, str]:
    """Every table by its name, of those experiments of which something is kept."""
    return {name: text for experiment in EXPERIMENTS for name, text in tables_of(experiment, kept(experiment, folder))}


def write_pages(folder: Path = KEPT) -> str:
    """Draw the figures into `folder`, and write tables into the pages of the checkout if these are its numbers; returns
    the tables."""
    made = tables(folder)
    for page in PAGES if folder == KEPT else ():
        with atomic(ROOT / page, "w") as file:
            file.write(filled((ROOT / page).read_text(), made))
    draw({name: kept(name, folder) for name in EXPERIMENTS}, folder)
    return "\n\n".join(f"{name}\n\n{text}" for name, text in made.items())


def filled(text: str, made: Mapping[str, str]) -> str:
    """A page with each table between its markers."""
    for name, body in made.items():
        text = _between(name).sub(lambda found, body=body: f"{found[1]}\n{body}\n{found[3]}", text)
    return text


def _between(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name}: written by tools/experiments.py -->)(.*?)(<!-- end of {name} -->)", re.DOTALL)
