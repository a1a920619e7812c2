"""Images of a page, with torch: the views of a recipe, and the nearest neighbors of images in feature space."""

import io
from collections.abc import Iterator
from contextlib import redirect_stdout

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from viewstream.augment.recipes import views_of
from viewstream.pipeline.choose import open_any_reader, open_reader
from viewstream.shards.keyed import shuffled
from viewstream.shards.manifest import Manifest
from viewstream.tools.look_contact import contact_blocks, contact_sheet
from viewstream.tools.look_views import load

from .page import image
from .tiles import TILE, tile

IMAGES, BANK = 6, 2000  # of a sheet of views, and images among which neighbors are looked for


def first_form(manifest: Manifest) -> str:
    """The first loader that can read a set."""
    return next((f for f in ("webdataset", "ffcv", "folder") if f in manifest.info.formats), "folder")


def drawn_rows(manifest: Manifest, number: int) -> np.ndarray:
    """Some manifest rows, the same ones each time."""
    return np.sort(shuffled(manifest.uid, 0, "inspect")[:number])


def views_sheet(
    manifest: Manifest,
    recipe: str,
    size: int,
    *,
    seed: int,
    epoch: int,
    rows: np.ndarray,
    occurrence: int | np.ndarray = 0,
) -> bytes:
    """The contact sheet of some rows as a PNG."""
    samples = load(manifest, first_form(manifest), rows, views_of(recipe, size), seed, epoch, occurrence)
    return png(contact_sheet(samples, TILE))


def views_blocks(
    manifest: Manifest, recipe: str, size: int, *, seed: int, epoch: int, rows: np.ndarray, about: str
) -> str:
    """Some rows with their views, one image of the page each, in as many columns as fit."""
    samples = load(manifest, first_form(manifest), rows, views_of(recipe, size), seed, epoch)
    shown = (
        image(png(block), f"{about}: {name}")
        for block, name in zip(contact_blocks(samples, TILE), samples.names, strict=True)
    )
    return f'<div class="sheets">{"".join(f"<div class=scroll>{one}</div>" for one in shown)}</div>'


def png(page: Image.Image) -> bytes:
    data = io.BytesIO()
    page.save(data, "PNG", optimize=True)
    return data.getvalue()


def neighbors(checkpoint: str, data: Manifest, options: dict[str, object], queries: int = IMAGES) -> Iterator[str]:
    """For some images of a set, a line of the images whose features are nearest, of those BANK that are looked at."""
    from viewstream.trainers.ranks import process_group
    from viewstream.trainers.tasks.model import EvaluatedModel
    from viewstream.trainers.tasks.options import Rankme

    rows = drawn_rows(data, BANK)
    part = data.take(rows, data.label[rows], data.info.classes)
    with process_group("auto") as device, redirect_stdout(io.StringIO()):
        chosen = Rankme(checkpoint=checkpoint, loader=first_form(data), batch_size=64, **options)  # pyright: ignore
        x = F.normalize(EvaluatedModel(chosen, device).features(part)[0], dim=1)
    asked = torch.arange(0, len(part), max(1, len(part) // queries))[:queries]
    nearest = (x[asked] @ x.T).topk(min(7, len(part)), dim=1).indices.tolist()  # the first is the image itself
    with open_any_reader(part) if "plain" not in part.info.formats else open_reader("folder", part) as reader:
        for line in nearest:
            yield f'<div class="tiles">{"".join(_tile(part, reader.read(row), row, line[0]) for row in line)}</div>'


def _tile(data: Manifest, stored: bytes | np.ndarray, row: int, query: int) -> str:
    """An image with the name of its class; framed if that is the class of the query."""
    label = int(data.label[row])
    name = data.info.classes[label] if label >= 0 else "unlabeled"
    return tile(stored, name, name, mark=label >= 0 and row != query and label == data.label[query])
