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


def write_pages(root: Path = ROOT) -> str:
    """Write tables and figures into the pages under `root`; returns the tables."""
    made = tables()
    for page in PAGES:
        text = (root / page).read_text()
        with atomic(root / page, "w") as file:
            file.write(filled(text, made))
    draw({name: kept(name) for name in EXPERIMENTS}, KEPT)
    return "\n\n".join(f"{name}\n\n{text}" for name, text in made.items())


def filled(text: str, made: Mapping[str, str]) -> str:
    """A page with each table between its markers."""
    for name, body in made.items():
        text = _between(name).sub(lambda found, body=body: f"{found[1]}\n{body}\n{found[3]}", text)
    return text


def _between(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name}: written by tools/experiments.py -->)(.*?)(<!-- end of {name} -->)", re.DOTALL)
