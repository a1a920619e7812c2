"""Make the files in `v1`: a set in all formats, a static set and two runs, by the programs of commit 83a44b9.

    git worktree add --detach /tmp/old/viewstream 83a44b9
    cd tests/compat && PYTHONPATH=/tmp/old python make.py /tmp/old/viewstream v1

The runs are stopped after the first of two epochs: the checkpoint of that epoch takes the place of last.pt.
"""

import runpy
import shutil
import sys
from pathlib import Path

import arch
import numpy as np
from PIL import Image

CLASSES, EACH, SIDE = ("ant", "bee", "cow"), 6, 40
NET = ("--arch", arch.ARCH, "--size", "32", "--batch-size", "6", "--epochs", "2", "--lr", "0.03", "--bn-groups", "2")
ON_CPU = ("--device", "cpu", "--log-every", "1", "--keep-every", "1", "--loader", "webdataset")


def images(root: Path) -> None:
    """An ImageFolder of smooth images, a hue for each class."""
    rng = np.random.default_rng(0)
    for split, count in (("train", EACH), ("val", 2)):
        for c, name in enumerate(CLASSES):
            (root / split / name).mkdir(parents=True)
            for n in range(count):
                coarse = rng.integers(0, 120, (3, 4, 3))
                coarse[..., c] += 120
                image = Image.fromarray(coarse.astype(np.uint8)).resize((SIDE + 4 * n, SIDE), Image.Resampling.BICUBIC)
                image.save(root / split / name / f"{name}{n}.jpg", quality=90)


def main() -> None:
    old, out = map(Path, sys.argv[1:])
    source, work = out / "source", out / "work"

    def call(program: str, *words: object) -> None:
        sys.argv = [program, *map(str, words)]
        try:
            runpy.run_path(str(old / program), run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise

    images(source)
    formats = ("--format", "webdataset,ffcv,folder", "--raw-fraction", "0.3", "--shard-size", "20KB", "--workers", "1")
    call("tools/build_shards.py", "--source", source, "--out", out / "set", *formats)
    call(
        "tools/build_shards.py", "--source", source, "--out", out / "val", "--split", "val", "--keep", "--workers", "1"
    )
    static = ("--per-class", "1", "--size", "24", "--mode", "easy", "--workers", "1")
    call("tools/make_static.py", "--data", out / "set", "--out", out / "static", *static)
    moco = ("--method", "moco", "--queue", "12", "--dim", "8", "--key-momentum", "0.9")
    supervised = ("--method", "supervised", "--balanced")
    for name, words in (("moco", moco), ("supervised", supervised)):
        call("trainers/train.py", *words, *NET, *ON_CPU, "--data", out / "set", "--out", work / name)
        shutil.copytree(work / name, out / name)
        (out / name / "epoch-0001.pt").replace(out / name / "last.pt")
        (out / name / "epoch-0002.pt").unlink()
    shutil.rmtree(work)
    shutil.rmtree(source)


if __name__ == "__main__":
    main()
