"""Print the classes, sizes, encoding and origin of a built set as a table, and draw them with samples as a PNG.

python tools/inspect_shards.py data/shards/imagenet-lt6-train
python tools/inspect_shards.py s3://bucket/imagenet-lt6-train
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from viewstream.pipeline.readers.remote import CACHE, open_built
from viewstream.shards.care.figures import table
from viewstream.shards.cli import Positional, parse, run
from viewstream.shards.errors import UserError, installed, needs
from viewstream.tools.inspect_figure import draw_figure


@dataclass(frozen=True)
class Inspect:
    """Which set and what to show"""

    dir: Annotated[str, "folder or URL of a built set", Positional] = ""
    picture: Annotated[bool, "draw classes, sizes and samples, which needs matplotlib"] = True
    png: Annotated[Path | None, "PNG to write (DIR/inspect.png; inspect.png for a URL)"] = None
    cache: Annotated[Path, "folder for the manifest of a set at a URL"] = CACHE


def main() -> None:
    (options,) = parse(Inspect(), description=__doc__ or "")
    png = options.png or Path("" if "://" in options.dir else options.dir) / "inspect.png"
    if png.suffix.lower() != ".png":
        raise UserError(f"--png {png} is no PNG: give it a name that ends with .png")
    if options.png and options.picture:
        needs("matplotlib")
    manifest = open_built(options.dir, options.cache)
    print(table(manifest), flush=True)
    if options.picture and not installed("matplotlib"):
        print(f"{'figure':>12}  left out, matplotlib is not installed: pip install 'viewstream[train]' brings it")
    elif options.picture:
        draw_figure(manifest, png)
        print(f"{'figure':>12}  {png}")


if __name__ == "__main__":
    run(main)
