"""Print the classes, sizes, encoding and origin of a built set as a table, and draw them with samples as a PNG.

python tools/inspect_shards.py data/shards/imagenet-lt6-train
python tools/inspect_shards.py s3://bucket/imagenet-lt6-train
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from viewstream.pipeline.readers.remote import CACHE, open_built
from viewstream.shards.care.figures import facts, table
from viewstream.shards.care.words import worded
from viewstream.shards.cli import Positional, parse, run
from viewstream.shards.errors import UserError, installed, needs
from viewstream.tools.inspect_figure import draw_figure


@dataclass(frozen=True)
class Inspect:
    """Which set and what to show"""

    dir: Annotated[str, "folder or URL of a built set", Positional] = ""
    picture: Annotated[bool, "draw classes, sizes and samples, which needs matplotlib"] = True
    png: Annotated[Path | None, "PNG to write (DIR/inspect.png; inspect.png for a URL)"] = None
    words: Annotated[
        Path | None, "list that names the classes in figure and page: lines `class words`, or a class index as JSON"
    ] = None
    cache: Annotated[Path, "folder for the manifest of a set at a URL"] = CACHE
    json: Annotated[bool, "print JSON, draw nothing"] = False
    html: Annotated[
        bool, "write a page instead (DIR/inspect.html; inspect.html for a URL), which can be sent: needs plotly"
    ] = False
    views: Annotated[str, "recipe whose views the page shows"] = "moco_v2"
    verify: Annotated[bool, "for the page, read all files and compare them with their digests"] = True


def main() -> None:
    (options,) = parse(Inspect(), description=__doc__ or "")
    folder = Path("" if "://" in options.dir else options.dir)
    png = options.png or folder / "inspect.png"
    if png.suffix.lower() != ".png":
        raise UserError(f"--png {png} is no PNG: give it a name that ends with .png")
    if options.png and options.picture:
        needs("matplotlib")
    manifest = open_built(options.dir, options.cache)
    if options.json:
        print(json.dumps(facts(manifest), indent=1))
        return
    if options.words:
        manifest = replace(manifest, info=replace(manifest.info, classes=worded(manifest.info.classes, options.words)))
    print(table(manifest), flush=True)
    if options.html:
        needs("plotly")
        from viewstream.tools.pages.set_page import write_set_page

        page = folder / "inspect.html"
        write_set_page(manifest, page, views=options.views, check=options.verify)
        print(f"{'page':>12}  {page}")
    elif options.picture and not installed("matplotlib"):
        print(f"{'figure':>12}  left out, matplotlib is not installed: pip install 'viewstream[train]' brings it")
    elif options.picture:
        draw_figure(manifest, png)
        print(f"{'figure':>12}  {png}")


if __name__ == "__main__":
    run(main)
