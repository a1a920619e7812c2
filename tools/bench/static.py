"""Images per second of making a static set, against a plain loop: torchvision on PIL in one thread.

Both read the same stored JPEGs and write the original and two MoCo v2 views of each as JPEGs of quality 75. Cases
alternate (A B C A B C ...), and medians are compared, of wall time and of processor time, which other programs on the
machine disturb less. Ratios are comparable across days, absolute numbers are not.

  python tools/bench/static.py --data data/shards/imagenet-full-val
"""

import io
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from viewstream.shards.cli import parse, run

# isort: split
from PIL import Image, ImageFilter

from viewstream.shards.engine import cores
from viewstream.shards.errors import UserError
from viewstream.shards.files import atomic
from viewstream.shards.manifest import Manifest
from viewstream.tools.bench.measuring.rounds import in_rounds
from viewstream.tools.make_static import Static, make

VIEWS = 2


@dataclass(frozen=True)
class Bench:
    """What to measure"""

    data: Annotated[Path, "a built data set"] = Path()
    per_class: Annotated[int, "images per class", 1] = 50
    size: Annotated[int, "side of a view, px", 16] = 224
    rounds: Annotated[int, "measured rounds, after one warm-up round", 1] = 3
    scratch: Annotated[Path | None, "folder for output; a folder in memory excludes the disk"] = None
    out: Annotated[Path | None, "JSON to write"] = None


def plain_loop(options: Bench, out: Path) -> None:
    """What a simple script does."""
    from torchvision.transforms import transforms as v1  # with torch, after --help, which needs none

    from viewstream.pipeline.choose import READERS, open_reader
    from viewstream.pipeline.static.images import chosen, names_of
    from viewstream.pipeline.static.write import QUALITY, one_thread

    manifest = Manifest.open(options.data)
    view = v1.Compose(
        [
            v1.RandomResizedCrop(options.size, (0.2, 1.0)),
            v1.RandomApply([v1.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
            v1.RandomGrayscale(0.2),
            v1.RandomApply([v1.Lambda(_blurred)], 0.5),
            v1.RandomHorizontalFlip(),
        ]
    )
    rows = chosen(manifest, options.per_class)
    names = names_of(manifest, rows)
    form = next(name for name in READERS if name in manifest.info.formats)
    with one_thread(), closing(open_reader(form, manifest)) as reader:
        for row in rows.tolist():
            path = out / names[row]
            path.parent.mkdir(parents=True, exist_ok=True)
            data = reader.read(row)
            image = Image.open(io.BytesIO(data)).convert("RGB") if isinstance(data, bytes) else Image.fromarray(data)
            for number, written in enumerate((image, *(view(image) for _ in range(VIEWS)))):
                written.save(f"{path}-{number}.jpeg", quality=QUALITY)


def _blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(1.0))


def ours(options: Bench, workers: int, out: Path) -> None:
    """What `tools/make_static.py` does; it makes the folder `out` itself."""
    out.rmdir()
    make(
        Static(
            data=str(options.data),
            out=out,
            per_class=options.per_class,
            views=VIEWS,
            size=options.size,
            workers=workers,
        )
    )


class Spent(NamedTuple):
    """Seconds that a case takes, on the clock and of all cores together."""

    wall: float
    cpu: float


def timed(case: Callable[[Path], None], scratch: Path | None) -> Spent:
    """What a case takes; its output is removed."""
    out = Path(tempfile.mkdtemp(prefix="static-", dir=scratch))
    try:
        wall, cpu = time.perf_counter(), time.process_time()
        case(out)
        return Spent(time.perf_counter() - wall, time.process_time() - cpu)
    finally:
        shutil.rmtree(out)


def bench(options: Bench) -> dict[str, Any]:
    """Median images per second of each case, and what they cost; printed and written to `options.out`."""
    if options.data == Path():
        raise UserError("no images to augment: name a built set with --data")
    from viewstream.pipeline.static.images import chosen

    images = len(chosen(Manifest.open(options.data), options.per_class))
    cases = {"plain loop": partial(plain_loop, options)}
    for workers in sorted({1, cores()}):
        cases[f"make_static, {workers} thread{'s' * (workers > 1)}"] = partial(ours, options, workers)
    spent = in_rounds(cases, options.rounds, lambda name, _: timed(cases[name], options.scratch))
    speed = {name: images / statistics.median(each.wall for each in all_) for name, all_ in spent.items()}
    cpu = {name: 1e6 * statistics.median(each.cpu for each in all_) / images for name, all_ in spent.items()}
    for name, value in speed.items():
        ratio = value / speed["plain loop"]
        print(
            f"{name:>26}  {value:8.1f} img/s  {ratio:.2f} of the plain loop, {cpu[name]:.0f} us of processor time each"
        )
    results = {"images": images, "size": options.size, "images_per_s": speed, "cpu_us_per_image": cpu, "seconds": spent}
    if options.out:
        with atomic(options.out, "w") as file:
            json.dump(results, file, indent=1)
    return results


def main() -> None:
    (options,) = parse(Bench(), description=__doc__ or "")
    bench(options)


if __name__ == "__main__":
    run(main)
