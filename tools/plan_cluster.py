"""What a training asks of what is around its nodes, for plan.py: stores, disks of nodes, builds.

A node whose set is not staged reads its share of the images in every epoch. Staging copies the whole set to each node,
since its share is another one in each epoch. The exchange of gradients between the nodes is not counted.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from viewstream.tools.plan_model import Image, of_side

BUILDS = Path(__file__).parents[1] / "docs/results/build_cpu.json"  # `python tools/bench/build.py`
SIDE = 400  # px, of its images


def around(samples: float, image: Image, rate: float, nodes: int) -> Iterator[str]:
    """The lines for `nodes` nodes that take `rate` images/s each."""
    stored, share = samples * image.kilobytes / 1e6, rate * image.kilobytes / 1e3  # GB, MB/s
    if nodes > 1:
        yield f"a store that they share: {nodes * share:.0f} MB/s in every epoch without --stage"
    yield (
        f"--stage: {stored:.1f} GB on the disk of each node; copied within the first epoch at {nodes * share:.0f} MB/s "
        f"a node{f', {nodes**2 * share:.0f} MB/s from the store' if nodes > 1 else ''}, nothing is read from the store "
        "afterwards"
    )
    hours = samples * build_cost(image) / 3.6e9
    yield (
        f"build: {hours:.2f} core hours to re-encode photographs of 500 px; with an object store as --out the driver "
        f"needs {stored:.1f} GB of scratch for the .beton"
    )


def build_cost(image: Image) -> float:
    """us of one core to decode, shrink and encode a photograph of ImageNet: encoding goes with its pixels."""
    costs = json.loads(BUILDS.read_text())["us of processor time an image to 400 px, one core"]
    more = image.megapixels / of_side(SIDE).megapixels - 1
    return costs["decode, shrink, encode"] + costs["encode"] * more
