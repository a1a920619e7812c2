"""What a static set would be, before it is written: `make_static.py --dry-run`."""

from pathlib import Path
from tempfile import TemporaryDirectory

from viewstream.pipeline.readers.ranged import few
from viewstream.shards.files import free_at
from viewstream.tools.static_choice import Choice, Static, require_new

SOME = 16  # images that are rendered in memory, to see how large their files are


def planned(options: Static) -> str:
    """Images, files, about how many bytes, and where; nothing is kept. UserError for what would stop the work."""
    with TemporaryDirectory() as cache:  # for the manifest of a set at a URL
        choice = Choice.of(options, Path(cache))
        require_new(choice.out)
        count, size = _of_some(choice, options)
    images, formats = len(choice.rows), len(options.format)
    free, needed = free_at(choice.out), size * images * formats
    lines = [
        ("set", f"{choice.manifest.info.name}, {len(choice.manifest):,} images"),
        ("images", f"{images:,} of {len(choice.classes):,} classes, the first {options.per_class:,} of each"),
        ("views", f"{options.views} of {options.recipe}, {options.size} px, {options.mode}"),
        ("files", f"{images * count:,} JPEGs, the images too, as {', '.join(options.format)}"),
        ("size", f"about {needed / 1e6:,.1f} MB, as the first {min(SOME, images)} images have it"),
        ("free", f"{free / 1e9:,.1f} GB" + ", which is less: name another --out" * (free < needed)),
        ("where", f"{choice.out}, where nothing was written yet"),
    ]
    return "\n".join(f"{name:>14}  {text}" for name, text in lines)


def _of_some(choice: Choice, options: Static) -> tuple[int, float]:
    """Files of an image, and their mean bytes together."""
    from viewstream.pipeline.static.write import encoded, frozen_images, one_thread

    manifest, rows, how = choice.manifest, choice.rows[:SOME], {"mode": options.mode, "seed": options.seed}
    with few(manifest) as reader, one_thread():
        reader.prefetch(iter([rows]))
        files = [*frozen_images(manifest, reader, rows, choice.views, options.render(SOME), **how)]
    return len(files[0]), sum(len(encoded(pixels)) for one in files for pixels in one) / len(files)
