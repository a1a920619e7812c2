"""What a training will need before it is started: which stage limits it, cores, loader, disk, memory, hours.

The host's side is computed from what each stage costs on one core (docs/results/cpu/costs.json, tools/plan_model.py),
as if cores did not disturb each other, which was measured on two. A GPU's rate is `--step-rate`, or a figure of
`make gpu` in docs/results; without either only the host's side is answered.

  python tools/plan.py --gpus 8 --arch resnet50 --recipe moco_v2 --images 1.28M
  python tools/plan.py --gpus 8 --nodes 4 --arch resnet50 --images 100M --step-rate 1200
  python tools/plan.py --gpus 1 --data data/shards/imagenet-lt6-train --step-rate 1200
"""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from viewstream.shards.cli import parse, run

# isort: split
from viewstream.augment.recipes import views_of
from viewstream.augment.spec import Views, size_of
from viewstream.pipeline.readers.remote import CACHE, open_built
from viewstream.shards.engine import cores
from viewstream.shards.errors import UserError
from viewstream.tools.plan_cluster import around
from viewstream.tools.plan_model import Costs, Image, of_side, ways
from viewstream.tools.plan_text import lines
from viewstream.trainers.recipes import recipe_named
from viewstream.trainers.recipes.options import Recipe

RESULTS = Path(__file__).parents[1] / "docs/results"
BATCHES = 6  # of pinned memory per GPU: four ahead, one in use, one that is copied
SHARD = 256e6  # bytes, as the builder makes them
SCALE = {"k": 1e3, "M": 1e6, "G": 1e9}


@dataclass(frozen=True)
class Question:
    """The training to plan"""

    gpus: Annotated[int, "GPUs of one machine", 1] = 1
    nodes: Annotated[int, "machines with as many GPUs and cores each", 1] = 1
    recipe: Annotated[str, "named recipe (`python trainers/train.py --list-recipes`)"] = "moco_v2"
    arch: Annotated[str, "backbone (the one of the recipe)"] = ""
    images: Annotated[str, "images of the set: a number, or one with k, M or G after it"] = "1.28M"
    side: Annotated[int, "longest side of the stored images, px", 16] = 400
    data: Annotated[str, "built set, in a folder or at a URL, whose number and sizes of images count instead"] = ""
    cache: Annotated[Path, "folder for the manifest of a set at a URL"] = CACHE
    cores: Annotated[int, "cores of the machine with the GPUs (those of this machine)", 0] = 0
    step_rate: Annotated[float, "images/s that a GPU trains when it never waits (a saved figure of `make gpu`)", 0] = (
        0.0
    )
    costs: Annotated[Path, "figures of `make bench PART=costs`"] = RESULTS / "cpu/costs.json"
    json: Annotated[bool, "print JSON"] = False


class Set(NamedTuple):
    """The images of a training."""

    samples: float
    image: Image


def number(text: str) -> float:
    """`1.28M` -> 1,280,000; UserError for anything else."""
    try:
        return float(text.rstrip("kMG")) * SCALE.get(text[-1:], 1)
    except ValueError as error:
        raise UserError(f"--images {text!r} is not a number: write it like 1281167, 1.28M or 400M") from error


def images_of(question: Question) -> Set:
    if not question.data:
        return Set(number(question.images), of_side(question.side))
    data = open_built(question.data, question.cache)
    pixels = data.height.astype(float) * data.width
    return Set(len(data), Image(float(pixels.mean()) / 1e6, float(data.bytes.mean()) / 1e3))


def step_rate(question: Question, recipe: Recipe) -> tuple[float, str]:
    """Images/s of a GPU that never waits, and where the figure is from; 0 where none is known."""
    if question.step_rate:
        return question.step_rate, "--step-rate"
    for path in sorted(RESULTS.glob("*/train.json")):
        found = json.loads(path.read_text()).get(f"{recipe.method}, {recipe.arch}", {})
        if "seconds" in found:
            return found["batch"] / found["seconds"]["resident"], f"measured on {path.parent.name}"
    return 0.0, ""


def planned(question: Question, recipe: Recipe, costs: Costs) -> dict[str, Any]:
    """The plan: rates in images/s, `images_per_second` of each node; what the host does in us of one core an image;
    sizes in GB (10^9 bytes); hours of an epoch and of the run."""
    views, data, here = views_of(recipe.views, recipe.size), images_of(question), question.cores or cores()
    found, (gpu, source) = ways(costs, data.image, views), step_rate(question, recipe)
    want, chosen, limit = gpu * question.gpus, found[0], ""
    rate = here * chosen.rate
    if gpu:
        chosen = next((way for way in found if here * way.rate >= want), found[-1])
        rate = min(want, here * chosen.rate)
        limit = "the step" if rate == want else max(chosen.stages, key=lambda stage: chosen.stages[stage])
    return {
        "training": {name: getattr(recipe, name) for name in ("method", "arch", "views", "size", "epochs")},
        "set": {"images": data.samples, **data.image._asdict()},
        "machine": {"gpus": question.gpus, "nodes": question.nodes, "cores": here},
        "measured_on": costs.machine,
        "ways": [{"flags": way.flags, "images_per_second": way.rate, "us": way.stages} for way in found],
        "gpu": {"images_per_second": gpu, "source": source} if gpu else None,
        "limit": limit,
        "images_per_second": rate,
        "take": f"--loader {_loader(data)} {chosen.flags} --workers {max(1, here // question.gpus)}",
        **_storage(data, recipe, views, question, rate),
    }


def _storage(data: Set, recipe: Recipe, views: Views, question: Question, rate: float) -> dict[str, Any]:
    """Shards, disk, memory, reading, what is around the nodes, and hours; each node takes `rate` images/s."""
    gpus, nodes = question.gpus, question.nodes
    stored, hours = data.samples * data.image.kilobytes * 1e3, data.samples / (nodes * rate) / 3600
    batch = 3 * sum(size_of(view) ** 2 for view in views) * recipe.batch_size / (gpus * nodes)
    return {
        "tars": max(1, math.ceil(stored / SHARD)),
        "tar_gb": min(stored, SHARD) / 1e9,
        "stored_gb": stored / 1e9,
        "pinned_gb": BATCHES * 2 ** math.ceil(math.log2(batch)) * gpus / 1e9,
        "read_mb_per_second": rate * data.image.kilobytes / 1e3,
        "around": around(data.samples, data.image, rate, nodes),
        "epoch_hours": hours,
        "hours": hours * recipe.epochs,
    }


def answer(question: Question, recipe: Recipe, costs: Costs) -> list[str]:
    """The lines of the plan."""
    return lines(planned(question, recipe, costs))


def _loader(data: Set) -> str:
    """A small set is held in memory, decoded."""
    return "memory" if data.samples * data.image.megapixels * 3e6 < 2e9 else "ffcv"


def main() -> None:
    (question,) = parse(Question(), description=__doc__ or "")
    recipe = recipe_named(question.recipe)
    if question.arch:
        recipe = replace(recipe, arch=question.arch)
    plan = planned(question, recipe, Costs.load(question.costs))
    print(json.dumps(plan, indent=1) if question.json else "\n".join(lines(plan)))


if __name__ == "__main__":
    run(main)
