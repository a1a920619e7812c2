"""A storage format of your own: one raw .npy array per image.

  python examples/npy_reader.py data/shards/imagenet-lt6-train runs/npy

Writes the images of a built set as .npy files, checks the reader, and trains MoCo on them for one epoch.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import simplejpeg

from viewstream.augment import moco_v2
from viewstream.pipeline import open_loader
from viewstream.shards import Manifest, SampleReader, in_memory, open_tar
from viewstream.testing import check_loader, check_reader
from viewstream.trainers import Run, pretrain, recipe_named

SMALL = {"arch": "test_resnet", "size": 32, "epochs": 1, "batch_size": 32, "queue": 64, "bn_groups": 2}
RECIPE = replace(recipe_named("moco_v2"), **SMALL)


class NpyReader(SampleReader):
    """Images [H, W, 3] uint8, one .npy file per sample."""

    def __init__(self, files: list[Path]):
        self.files = files

    def read(self, row: int) -> np.ndarray:
        return np.load(self.files[row])

    def locate(self, row: int) -> str:
        return str(self.files[row])


def describe(folder: Path) -> tuple[Manifest, list[Path]]:
    """A manifest of the .npy files in class folders, and the files in its order."""
    files = sorted(folder.glob("*/*.npy"))
    classes = sorted({file.parent.name for file in files})
    label = np.array([classes.index(file.parent.name) for file in files])
    hw = np.array([np.load(file, mmap_mode="r").shape[:2] for file in files])  # the header alone is read
    keys = [f"{file.parent.name}/{file.stem}" for file in files]
    return in_memory(folder.name, keys, label, hw, classes), files


def write_npy(data: Manifest, folder: Path) -> None:
    """Decode a built set into `folder/<class number>/<row>.npy`; a name could lead out of the folder."""
    with open_tar(data) as reader:
        for row, label in enumerate(data.label.tolist()):
            file = folder / f"{label:04d}" / f"{row:06d}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, simplejpeg.decode_jpeg(reader.read(row)))


def main(data: str, out: str) -> None:
    write_npy(Manifest.open(data), Path(out) / "npy")
    manifest, files = describe(Path(out) / "npy")
    check_reader(lambda: NpyReader(files), manifest)
    check_loader(lambda plan: open_loader(NpyReader(files), manifest, plan, moco_v2(32), threads=2), manifest)
    pretrain(RECIPE, Run(out=f"{out}/run", device="cpu"), data=manifest, reader=NpyReader(files))


if __name__ == "__main__":
    main(*sys.argv[1:])
