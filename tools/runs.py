"""List the runs below a folder: what was trained on what, how far, and what it reached.

python tools/runs.py
python tools/runs.py --below runs/cifar --json
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from viewstream.shards.cli import parse, run
from viewstream.shards.errors import UserError, command
from viewstream.tools.run_files import CONFIG, RunFiles, read_run, runs_below

LOG = logging.getLogger("viewstream.tools.runs")


@dataclass(frozen=True)
class Listing:
    """Which runs"""

    below: Annotated[Path, "folder to look in"] = Path("runs")
    json: Annotated[bool, "print JSON"] = False


def row_of(found: RunFiles) -> dict[str, Any]:
    """What the list says about a run."""
    recipe, best = found.recipe, [row["knn"] for row in found.notes if "knn" in row]
    return {
        "run": str(found.folder),
        "method": recipe.get("method", ""),
        "arch": recipe.get("arch", ""),
        "data": Path(str(found.config.get("data", ""))).name,
        "epoch": f"{1 + int(found.last('epoch') or 0) if found.steps else 0}/{recipe.get('epochs', '?')}",
        "loss": found.last("loss"),
        "knn": max(best) if best else None,
        "results": len(found.results),
        "images_per_second": round(found.speed()),
        "begun": found.config.get("environment", {}).get("time", ""),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as columns of text."""
    heads = [name.replace("images_per_second", "img/s") for name in rows[0]]
    cells = [heads, *([_shown(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "-" if value is None else str(value)


def main() -> None:
    (options,) = parse(Listing(), description=__doc__ or "")
    if not options.below.is_dir():
        raise UserError(f"{options.below} is no folder: name the one that holds your runs")
    rows = []
    for folder in runs_below(options.below):
        try:
            rows.append(row_of(read_run(folder)))
        except UserError as error:  # one that is damaged hides none of the others
            LOG.warning(f"note: left out: {error}")
    if options.json:
        print(json.dumps(rows, indent=1))
    elif rows:
        print(table(rows))
    else:
        begin = command("python trainers/train.py", "--help")
        raise UserError(f"no run lies below {options.below} (no {CONFIG}): `{begin}` shows how to begin one")


if __name__ == "__main__":
    run(main)
