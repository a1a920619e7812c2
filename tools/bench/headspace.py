"""What limits a training step: the same steps on a resident batch, on cached batches and with the loader, in turn.

Options are those of trainers/train.py. `loader-bound` or `step-bound`, the ceiling, and what to change are printed;
ratios are comparable across days, absolute numbers are not.

  python tools/bench/headspace.py --method moco --arch resnet50 --data data/shards/imagenet-lt6-train --steps 20
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from viewstream.shards.cli import parse, peek, run
from viewstream.shards.files import atomic, writing
from viewstream.trainers.recipes import recipe_named
from viewstream.trainers.training.options import Run


@dataclass(frozen=True)
class Bench:
    """What to measure"""

    method: Annotated[str, "moco, kcl, byol, sts, m2t, seed or supervised (moco)"] = ""
    recipe: Annotated[str, "named recipe, changed by the other options (the default of the method)"] = ""
    steps: Annotated[int, "steps of each kind in a round, of three rounds", 1] = 20
    json: Annotated[Path | None, "JSON to write"] = None


def main() -> None:
    target = peek(Bench())
    bench, recipe, options = parse(target, recipe_named(target.recipe, target.method), Run(), description=__doc__ or "")

    from viewstream.trainers.training.headspace import profile  # with torch, after --help, which needs none

    found = profile(recipe, dataclasses.replace(options, profile=bench.steps))
    if bench.json:
        with writing(bench.json), atomic(bench.json, "w") as file:
            json.dump({**dataclasses.asdict(found), "reached": found.reached, "lost": found.lost}, file, indent=1)


if __name__ == "__main__":
    run(main)
