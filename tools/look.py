"""Look at the views that a recipe makes: each image with its crop boxes, and its views with what was drawn for them.

python tools/look.py --data data/shards/imagenet-lt6-train --views moco_v2 --ids 0-7 --out views.png
python tools/look.py --data data/shards/imagenet-lt6-train --compare --ids 0-3
python tools/look.py --list
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from viewstream.shards.cli import Renamed, parse, run

# isort: split
import numpy as np

from viewstream.augment.recipes import VIEWS, views_of
from viewstream.augment.spec import Op, built_in_ops
from viewstream.pipeline.readers.remote import CACHE, open_built
from viewstream.shards.errors import UserError, installed
from viewstream.shards.files import atomic, make_folder

TILE = 112  # px, at least, of a contact sheet
USUAL = ("ratio", "filter", "mean", "std", "threshold")  # fields that a listing leaves out at their defaults


@dataclass(frozen=True)
class Look:
    """Which images and how to show them"""

    data: Annotated[str, "a built data set, in a folder or at a URL"] = ""
    list: Annotated[bool, "list the recipes, and the renderer of each op, instead of drawing"] = False
    loader: Annotated[str, "reader of the data: folder, webdataset or ffcv"] = "webdataset"
    views: Annotated[str, "augmentation recipe", Renamed("recipe")] = "moco_v2"
    compare: Annotated[bool, "show the views of several renderers side by side, and their differences"] = False
    renderers: Annotated[
        tuple[Literal["reference", "device", "dali"], ...],
        "renderers to --compare with the first (all installed)",
    ] = ()
    size: Annotated[int, "side of a view, px", 8] = 224
    ids: Annotated[str, "manifest rows, a-b or a,b,c"] = "0-7"
    seed: Annotated[int, "seed of the draws"] = 0
    epoch: Annotated[int, "epoch of the draws"] = 0
    out: Annotated[str, "PNG to write"] = "views.png"
    cache: Annotated[Path, "folder for the manifest of a set at a URL"] = CACHE


def rows_of(ids: str, samples: int) -> np.ndarray:
    """The rows that `0-7` or `3,1,4` names; UserError for other text and for rows outside the set."""
    try:
        first, _, last = ids.partition("-")
        rows = np.arange(int(first), int(last) + 1) if last else np.array([int(i) for i in ids.split(",")])
    except ValueError as error:
        raise UserError(f"--ids takes a-b or a,b,c, got {ids!r}") from error
    if not len(rows) or rows.min() < 0 or rows.max() >= samples:
        raise UserError(f"--ids {ids} is outside the data set, which has rows 0-{samples - 1}")
    return rows


def brief(op: Op) -> str:
    """`ColorJitter 0.4 0.4 0.4 0.1 p 0.8`: an op's name and the values of its fields."""
    parts = [type(op).__name__]
    for field in fields(op):
        value = getattr(op, field.name)
        if field.name in USUAL and value == field.default:
            continue
        if isinstance(value, tuple):
            value = ("-" if len(value) == 2 else ",").join(f"{v:g}" for v in value)
        parts.append(f"p {value:g}" if field.name == "p" else value if isinstance(value, str) else f"{value:g}")
    return " ".join(parts)


def names_of(ops: tuple[Op, ...]) -> str:
    return " ".join(type(op).__name__ for op in ops) or "-"


def listing() -> str:
    """Every recipe: its views, their ops in order, and which ops go to DALI and to the device renderer."""
    from viewstream.augment.renderers import dali  # with torch, after --help, which needs none

    lines = []
    for name in VIEWS:
        lines.append(f"{name}: {(VIEWS[name].__doc__ or '').splitlines()[0]}")
        views = views_of(name)
        for view in dict.fromkeys(views):
            in_dali, left = dali.split(view)
            lines.append(f"    {views.count(view)} x  {', '.join(map(brief, built_in_ops(view)))}")
            lines.append(f"         DALI: {names_of(in_dali)}; then the device renderer: {names_of(left)}")
    return "\n".join(lines)


def main() -> None:
    (options,) = parse(Look(), description=__doc__ or "")
    if options.list:
        print(listing())
        return
    if not options.data:
        raise UserError("no data set to look at: name one with --data data/shards/<name>")
    if Path(options.out).suffix.lower() != ".png":
        raise UserError(f"--out {options.out} is no PNG: give it a name that ends with .png")
    manifest, views = open_built(options.data, options.cache), views_of(options.views, options.size)
    rows = rows_of(options.ids, len(manifest))

    from viewstream.tools.look_contact import contact_sheet  # with torch
    from viewstream.tools.look_sheet import draw_sheet
    from viewstream.tools.look_views import RENDERERS, load

    title = f"{options.views}, {options.size} px, seed {options.seed}, epoch {options.epoch}"
    samples = load(manifest, options.loader, rows, views, options.seed, options.epoch)
    if options.compare or options.renderers:
        names = options.renderers or tuple(name for name in RENDERERS if name != "dali" or installed("nvidia.dali"))
        page = draw_sheet(samples, names, title)
    else:
        page = contact_sheet(samples, max(TILE, options.size // 2), title)
    make_folder(Path(options.out).parent)
    with atomic(Path(options.out)) as file:
        page.save(file, "PNG")
    print(f"written to {options.out}, {page.width} x {page.height} px")


if __name__ == "__main__":
    run(main)
