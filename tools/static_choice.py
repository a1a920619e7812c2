"""What make_static.py makes of which images."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np

from viewstream.augment.recipes import views_of
from viewstream.augment.spec import Views
from viewstream.pipeline.readers.remote import CACHE, open_built
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest


@dataclass(frozen=True)
class Static:
    """Which images and how to augment them"""

    data: Annotated[str, "a built data set, in a folder or at a URL"] = ""
    out: Annotated[Path | None, "new folder (data/static/DATA-RECIPE-MODE)"] = None
    recipe: Annotated[str, "augmentation recipe"] = "moco_v2"
    mode: Annotated[
        Literal["normal", "nointer", "easy", "hard", "super-hard"], "how the two crops of an image overlap"
    ] = "normal"
    per_class: Annotated[int, "images per class, the first by name", 1] = 50
    views: Annotated[int, "views per image; the recipe's views in turn", 1] = 2
    size: Annotated[int, "side of a view, px", 8] = 224
    format: Annotated[
        tuple[Literal["folder", "webdataset", "ffcv"], ...], "folder: class folders of JPEGs; the others: a built set"
    ] = ("folder",)
    renderer: Annotated[
        Literal["host", "device"], "the renderer of training on a CPU, or the one of training on a GPU"
    ] = "host"
    seed: Annotated[int, "seed of the draws"] = 0
    cache: Annotated[Path, "folder for the manifest of a set at a URL"] = CACHE
    workers: Annotated[int, "threads; 0 = one per core", 0] = 0

    def render(self, full: int) -> Callable[..., Any]:
        """The renderer, for one thread of several, and batches of `full` images."""
        from viewstream.pipeline.kernels import warm_up
        from viewstream.pipeline.options import LoaderOptions

        rendering = LoaderOptions(renderer=self.renderer, threads=1)
        warm_up(rendering=rendering.render_on_host)
        return rendering.render(full=full)


class Choice(NamedTuple):
    """Images, their views, their names in the static set, and its folder."""

    manifest: Manifest
    views: Views
    rows: np.ndarray
    names: dict[int, str]
    classes: tuple[str, ...]
    out: Path

    @classmethod
    def of(cls, options: Static, cache: Path) -> Self:
        """Open the set and choose. UserError for a mistake in the options."""
        if not options.format:
            raise UserError("--format names nothing to write: give folder, webdataset or ffcv, or several with commas")
        if not options.data:
            raise UserError("no images to augment: name a built set with --data")
        from viewstream.pipeline.static.images import chosen, classes_of, names_of  # with torch, after --help
        from viewstream.pipeline.static.write import bare

        manifest = open_built(options.data, cache)
        views = bare(views_of(options.recipe, options.size), options.views, options.mode)
        rows = chosen(manifest, options.per_class)
        names = names_of(manifest, rows)
        out = options.out or Path("data/static") / f"{manifest.info.name}-{options.recipe}-{options.mode}"
        return cls(manifest, views, rows, names, classes_of(names.values()), out)


def require_new(out: Path) -> None:
    """UserError for a folder that exists."""
    if out.exists():
        raise UserError(f"{out} already exists: name another --out, or remove it first")
