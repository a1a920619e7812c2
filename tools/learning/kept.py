"""The JSON files of a piece, and what is kept of its run: the recipe, some lines of the log, a digest of the losses."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from viewstream.shards.files import atomic
from viewstream.shards.unpack import parsed_json
from viewstream.tools.run_files import RunFiles

ROWS = 24  # lines of a log that are kept
COLUMNS = ("step", "epoch", "loss", "acc1", "lr", "img_s", "wait")


def of_run(run: RunFiles) -> dict[str, Any]:
    """The recipe of a run, some lines of its log, and the SHA-256 of all its losses."""
    losses = [row["loss"] for row in run.steps]
    digest = hashlib.sha256(repr(losses).encode()).hexdigest()
    return {"recipe": run.recipe, "log": thinned(run), "losses_sha256": digest}


def thinned(run: RunFiles) -> list[dict[str, Any]]:
    """Some lines of a log, the last one too, and every measure between epochs."""
    rows = [*run.steps[::-1][:: max(1, len(run.steps) // ROWS)], *run.notes]
    kept = [{key: row[key] for key in row if key in COLUMNS or "loss" not in row} for row in rows]
    return sorted(kept, key=lambda row: (row["step"], "loss" not in row))


def saved(file: Path) -> dict[str, Any]:
    """The entries of a results.json."""
    return parsed_json(file.read_bytes()) if file.exists() else {}  # pyright: ignore


def write_json(path: Path, page: Mapping[str, Any]) -> None:
    """Replace `path` as a whole."""
    with atomic(path, "w") as file:
        file.write(json.dumps(page, indent=1) + "\n")
