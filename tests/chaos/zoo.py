"""One of every kind of file that the project writes, small: sets, a static set, a run, what was converted, caches."""

from pathlib import Path

import numpy as np
from PIL import Image

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest
from viewstream.tools.convert_checkpoint import Convert, convert
from viewstream.tools.make_static import Static, make
from viewstream.trainers.recipes.options import MoCo
from viewstream.trainers.tasks.options import Knn
from viewstream.trainers.tasks.run import evaluate
from viewstream.trainers.training.options import Run
from viewstream.trainers.training.run import pretrain

from ..compat.arch import ARCH

CLASSES = ("ant", "bee", "cow")
RECIPE = MoCo(arch=ARCH, size=32, batch_size=6, epochs=2, lr=0.03, bn_groups=2, queue=12, dim=8, key_momentum=0.9)
FORMATS = ("webdataset", "ffcv", "folder")


def options(root: Path, out: str) -> BuildOptions:
    """The options of the build that the sets of the zoo `root` come from."""
    return BuildOptions(source=root / "images", out=root / out, format=FORMATS, shard_size="8KB", workers=1)


def run_options(root: Path) -> Run:
    """The options of the run in the zoo `root`."""
    sets = {"data": str(root / "set"), "val": str(root / "val"), "loader": "webdataset", "device": "cpu"}
    return Run(
        out=str(root / "run"), keep_every=1, eval_every=1, knn_k=3, log_every=1, resume="auto", threads=1, **sets
    )


def knn(root: Path) -> Knn:
    """The options of the evaluation of that run."""
    sets = {"data": str(root / "set"), "val": str(root / "val"), "loader": "webdataset", "device": "cpu"}
    kept = {"checkpoint": str(root / "run/last.pt"), "features": str(root / "features")}
    return Knn(k=3, max_k=3, batch_size=18, threads=1, **kept, **sets)


def make_zoo(root: Path) -> None:
    """Everything, in folders of `root`."""
    _images(root / "images")
    made = build(options(root, "set"))
    build(BuildOptions(source=root / "images", out=root / "raw", format=("ffcv",), raw_fraction=1.0, workers=1))
    build(BuildOptions(source=root / "images", out=root / "val", split="val", workers=1))
    _unfinished(root, made)
    make(Static(data=root / "set", out=root / "static", per_class=1, size=24, workers=1))
    pretrain(RECIPE, run_options(root))
    evaluate(knn(root))
    (root / "converted").mkdir()
    for name in ("net.pth", "net.safetensors"):
        convert(Convert(root / "run/last.pt", root / "converted" / name, to="timm"))


def _images(root: Path) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for c, name in enumerate(CLASSES):
            (root / split / name).mkdir(parents=True)
            for n in range(count):
                coarse = rng.integers(0, 120, (3, 4, 3))
                coarse[..., c] += 120
                image = Image.fromarray(coarse.astype(np.uint8)).resize((40 + 4 * n, 40), Image.Resampling.BICUBIC)
                image.save(root / split / name / f"{name}{n}.jpg", quality=90)


def _unfinished(root: Path, made: Manifest) -> None:
    """The same build, stopped by a damaged image of its last tar."""
    last = root / "images/train" / made.strings("source", np.array([len(made) - 1]))[0]
    whole = last.read_bytes()
    last.write_bytes(b"")
    try:
        build(options(root, "unfinished"))
    except UserError:
        last.write_bytes(whole)
    assert len(list((root / "unfinished/building").glob("*.parquet"))) > 2
