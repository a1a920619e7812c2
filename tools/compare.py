"""Compare runs: the options in which they differ, what they reached, and their curves as a PNG.

python tools/compare.py runs/moco runs/byol --out curves.png
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from viewstream.shards.cli import Positional, parse, run
from viewstream.shards.errors import installed, needs
from viewstream.shards.files import atomic, writing
from viewstream.tools.run_files import RunFiles, read_alike

PLACES = ("out", "resume", "cache", "stage", "wandb", "tensorboard")  # options of `run` that change no number


@dataclass(frozen=True)
class Comparison:
    """Which runs"""

    runs: Annotated[tuple[Path, ...], "folders of runs", Positional] = ()
    out: Annotated[Path, "PNG of the curves, which needs matplotlib"] = Path("compare.png")
    json: Annotated[bool, "print JSON, draw nothing"] = False


def compared(found: list[RunFiles]) -> dict[str, list[Any]]:
    """For each line of the table, its values by run: differing options first, then what was reached."""
    lines: dict[str, list[Any]] = {}
    for section, left_out in (("recipe", ()), ("run", PLACES)):
        pages = [one.config.get(section, {}) for one in found]
        for name in dict.fromkeys(name for page in pages for name in page if name not in left_out):
            values = [page.get(name) for page in pages]
            if any(value != values[0] for value in values):
                lines[name] = values
    lines["steps"] = [one.last("step") for one in found]
    lines["loss, last"] = [one.last("loss") for one in found]
    lines["images/s, median"] = [round(one.speed()) for one in found]
    for name in dict.fromkeys(name for one in found for name in one.measured()):
        values = [[row[name] for row in one.notes if name in row] for one in found]
        lines[f"{name}, best"] = [max(column) if column else None for column in values]
    for name in dict.fromkeys(name for one in found for name in one.numbers()):
        lines[name] = [one.numbers().get(name) for one in found]
    return lines


def text(found: list[RunFiles], lines: dict[str, list[Any]]) -> str:
    """The table: one column per run."""
    cells = [["", *(one.name for one in found)], *([name, *map(_shown, v)] for name, v in lines.items())]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e-3 else f"{value:.4f}"
    return "-" if value is None else str(value)


def draw(found: list[RunFiles], path: Path) -> None:
    """Loss, rate and what was measured between epochs, over epochs."""
    plt = needs("matplotlib.pyplot")
    measured = [*dict.fromkeys(name for one in found for name in one.measured())]
    names = ["loss", "lr", *measured]
    across = min(3, len(names))
    down = -(-len(names) // across)
    figure, axes = plt.subplots(down, across, figsize=(4.6 * across, 3.2 * down), layout="constrained", squeeze=False)
    for axis, name in zip(axes.flat, names, strict=False):
        for one in found:
            rows = [row for row in (*one.steps, *one.notes) if name in row]
            if rows:
                axis.plot([r["step"] for r in rows], [r[name] for r in rows], marker="o" * (name in measured), ms=3)
        axis.set(title=name, xlabel="optimizer step")
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    figure.legend([one.name for one in found], loc="outside upper center", ncols=min(4, len(found)), frameon=False)
    with writing(path), atomic(path) as file:
        figure.savefig(file, format="png", dpi=120)


def main() -> None:
    (options,) = parse(Comparison(), description=__doc__ or "")
    found = read_alike(options.runs)
    lines = compared(found)
    if options.json:
        print(json.dumps({"runs": [str(one.folder) for one in found], "lines": lines}, indent=1))
        return
    print(text(found, lines))
    if installed("matplotlib"):
        draw(found, options.out)
        print(f"curves: {options.out}")
    else:
        print("curves are left out, matplotlib is not installed: pip install 'viewstream[train]' brings it")


if __name__ == "__main__":
    run(main)
