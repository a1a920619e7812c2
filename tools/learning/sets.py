"""The sets of the experiments: options of build_shards.py and make_static.py by name."""

from pathlib import Path
from typing import Any

from viewstream.shards.errors import UserError, installed

CIFAR, CALTECH = "cifar10", "caltech101"  # sources, which the user names
WHERE = {
    CIFAR: "a folder with train-*.parquet and test-*.parquet, as the library `datasets` saves uoft-cs/cifar10",
    CALTECH: "the archive or folder of Caltech-101, one folder per class, without BACKGROUND_Google",
}
EXACT: dict[str, Any] = {"quality": 100, "subsampling": 444}  # nearly lossless, for images of 32 px
FORMAT: dict[str, Any] = {"format": "webdataset"}
ALL = {"format": "webdataset,folder" + ",ffcv" * installed("ffcv")}

BUILDS: dict[str, tuple[str, dict[str, Any]]] = {
    "cifar10": (CIFAR, EXACT),
    "cifar10-test": (CIFAR, {"split": "val", **EXACT}),
    "cifar10-fifth": (CIFAR, {"per_class": 1000, **EXACT, **ALL}),
    "cifar10-most": (CIFAR, {"per_class": 4000, **EXACT}),  # settings are chosen with these, tested on the rest
    "cifar10-rest": (CIFAR, {"after": 4000, **EXACT}),
    "cifar10-lt": (CIFAR, {"subset": "cifar10-lt", **EXACT}),
    # 30 of each class for training and at most 50 others for the test; a fifth of the 30 to choose a rate with.
    "caltech": (CALTECH, {"per_class": 30}),
    "caltech-test": (CALTECH, {"split": "val", "after": 30, "per_class": 50, "allow_missing": True}),
    "caltech-four-fifths": (CALTECH, {"per_class": 24}),
    "caltech-fifth": (CALTECH, {"split": "val", "after": 24, "per_class": 6}),
    # The natural tail: 10 of each class for the test, the others, 21 to 790, for training.
    "caltech-tail": (CALTECH, {"after": 10}),
    "caltech-even": (CALTECH, {"after": 10, "per_class": 21}),  # of the tail, as many of each class
    "caltech-tail-test": (CALTECH, {"split": "val", "per_class": 10}),
}
STATIC: dict[str, tuple[str, dict[str, Any]]] = {
    "caltech-static": ("caltech-tail-test", {"recipe": "moco_v2", "size": 96, "per_class": 10}),
    "caltech-static-50": ("caltech-test", {"recipe": "moco_v2", "size": 96, "per_class": 50}),
}


def building(name: str, sources: dict[str, str], folder: Path) -> tuple[str, dict[str, Any]]:
    """The program and its options that make the set `name` in `folder`. UserError unless its source is named."""
    if name in STATIC:
        data, options = STATIC[name]
        return "tools/make_static.py", {"data": folder / data, **options, "out": folder / name}
    source, options = BUILDS[name]
    if not sources.get(source):
        raise UserError(
            f"the set {name} is made of {source}, whose place is not known: give it with --{source}, {WHERE[source]}"
        )
    return "tools/build_shards.py", {"source": sources[source], **FORMAT, **options, "out": folder / name}


def before(name: str) -> list[str]:
    """The set `name` and those that it is made of, in the order of their making."""
    return [STATIC[name][0], name] if name in STATIC else [name]
