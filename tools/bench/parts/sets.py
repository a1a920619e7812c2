"""The images of the suite: generated ones, or photographs of a folder, stored as the suite's parts read them."""

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.files import PAGE, place
from viewstream.shards.manifest import Manifest
from viewstream.tools.bench.build import copy_images
from viewstream.tools.bench.measuring.machine import ROOT

FORMATS = ("webdataset", "ffcv", "folder")
PER_CLASS = 42  # generated images of each of 12 classes: 504


@dataclass(frozen=True)
class Setting:
    """What every part of the suite measures on"""

    work: Path  # folder for images and sets
    images: Path | None = None  # folder of photographs; None: generated images
    quick: bool = False

    @property
    def rounds(self) -> int:
        """Measured rounds, after one warm-up round."""
        return 3 if self.quick else 5

    @property
    def source(self) -> str:
        """What the images are, in words."""
        return "generated images" if self.images is None else f"photographs of {self.images.name}"

    @property
    def folder(self) -> Path:
        """Folder of the images and of all sets made from them."""
        if self.images is None:
            return self.work / "generated"
        return self.work / hashlib.sha256(str(self.images.resolve()).encode()).hexdigest()[:12]

    def originals(self) -> Path:
        """The folder of the images, generated on first use."""
        if self.images is not None:
            return self.images
        out = self.folder / "images"
        if not out.exists():
            command = [sys.executable, str(ROOT / "tools/textures.py"), "--out", str(out), "--val", "0"]
            if subprocess.run([*command, "--train", str(PER_CLASS)], check=False).returncode:
                raise UserError("tools/textures.py has failed: its message above names the reason")
        return out

    def set(self, side: int = 400, copies: int = 2) -> Manifest:
        """All images `copies` times over at most `side` px, in every format, built on first use."""
        out = self.folder / f"{side}px-{copies}"
        if not (out / PAGE).exists():
            source, partial = self.folder / f"copies-{copies}", self.folder / f"copies-{copies}.partial"
            if not source.exists():
                shutil.rmtree(partial, ignore_errors=True)
                copy_images(self.originals(), copies, partial)
                place(partial, source)
            build(BuildOptions(source=source, out=out, max_side=side, format=FORMATS))
        return Manifest.open(out)
