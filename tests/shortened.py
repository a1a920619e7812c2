"""The programs of this project, as the pages call them, with more options that make their work small.

python shortened.py viewstream train --recipe moco_v2 ...    python shortened.py python tools/build_shards.py ...
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from viewstream.shards.programs import FILES, PROGRAMS
from viewstream.trainers.recipes import METHODS, recipe_named
from viewstream.trainers.tasks.options import options_of

ROOT = Path(__file__).parents[1]
CPU = {"loader": "webdataset", "device": "cpu", "ranks": 1}
TRAIN = {"arch": "test_resnet", "size": 32, "epochs": 1, "batch_size": 32, "lr": 0.03, "warmup_epochs": 0}
METHOD = {"queue": 64, "dim": 16, "hidden": 32, "bottleneck": 16, "prototypes": 12, "freeze": 3, "queue_epoch": 0}
METHOD |= {"bn_groups": 2, "teacher_arch": "test_resnet"}
EVAL = {"batch_size": 32, "epochs": 1, "blocks": 0, "max_k": 9, "draws": 2, "images": 64, "perplexity": 5}
BUILD = {"workers": 1, "max_side": 48}


def value(words: list[str], name: str, default: str = "") -> str:
    """The value of an option among `words`."""
    return words[words.index(f"--{name}") + 1] if f"--{name}" in words else default


def more(program: str, words: list[str]) -> Mapping[str, object]:
    """The options that follow `words`; the last of two wins."""
    if program == "train":
        recipe = recipe_named(value(words, "recipe"), value(words, "method"))
        known = {field.name for field in fields(METHODS[recipe.method])}
        return CPU | {name: given for name, given in (TRAIN | METHOD).items() if name in known}
    if program == "eval":
        known = {field.name for field in fields(options_of(value(words, "task", "knn")))} | {"ranks"}
        return {name: given for name, given in (CPU | EVAL).items() if name in known}
    if program == "build":
        subset = value(words, "subset")
        whole = {"subset": "full"} if subset.startswith("lt") else {}  # the published lists are those of ImageNet
        named = {} if "--out" in words or not whole else {"out": f"data/shards/imagenet-{subset}-train"}
        return BUILD | whole | named | ({"fraction": 1.0} if "--fraction" in words else {})
    return {"size": 32} if program == "static" else {}


def main() -> None:
    caller, program, *words = sys.argv[1:]
    name = program if caller == "viewstream" else FILES.get(program, "")
    start = ["-m", "viewstream", program] if caller == "viewstream" else [str(ROOT / program)] if name else [program]
    if name in PROGRAMS and not {"--help", "--list-recipes"} & set(words):
        added = more(name, words)
        words += [word for key, given in added.items() for word in (f"--{key.replace('_', '-')}", str(given))]
    os.execv(sys.executable, [sys.executable, *start, *words])


if __name__ == "__main__":
    main()
