"""What a training asks of what is around its nodes, for plan.py: stores, disks of nodes, builds.

A node whose set is not staged reads its share of the images in every epoch. Staging copies the whole set to each node,
since its share is another one in each epoch. The exchange of gradients between the nodes is not counted.
"""

import json
from pathlib import Path

from viewstream.tools.plan_model import Image, of_side

BUILDS = Path(__file__).parents[1] / "docs/results/build_cpu.json"  # `python tools/bench/build.py`
SIDE = 400  # px, of its images


def around(samples: float, image: Image, rate: float, nodes: int) -> dict[str, float]:
    """What `nodes` nodes that take `rate` images/s each ask of their store and disks, and of the machine that builds.

    Without a stage the store delivers `store_mb_per_second` in every epoch; a set that is copied to each node within
    the first epoch takes `stage_mb_per_second` a node.
    """
    share = nodes * rate * image.kilobytes / 1e3
    return {
        "store_mb_per_second": share,
        "stage_gb": samples * image.kilobytes / 1e6,
        "stage_mb_per_second": share,
        "build_core_hours": samples * build_cost(image) / 3.6e9,
    }


def build_cost(image: Image) -> float:
    """us of one core to decode, shrink and encode a photograph of ImageNet: encoding goes with its pixels."""
    costs = json.loads(BUILDS.read_text())["us of processor time an image to 400 px, one core"]
    more = image.megapixels / of_side(SIDE).megapixels - 1
    return costs["decode, shrink, encode"] + costs["encode"] * more
