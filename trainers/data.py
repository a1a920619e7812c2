"""Data options of the command line, and the sets that they name. Imports no torch, so that `--help` answers at once."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from ..shards.info import newest
from ..shards.manifest import Manifest
from ..shards.subsets.classsets import only
from ..shards.unpack import MAX_PIXELS

LOG = logging.getLogger(__name__)

SHARDS = Path("data/shards")
GB = 10**9
Network = Annotated[
    Literal["auto", "online", "target"], "network to take from a checkpoint with two; auto: the choice of its method"
]
Ema = Annotated[bool, "take the averaged weights that a checkpoint holds beside the others, as state_dict_ema"]
OnError = Annotated[Literal["stop", "skip"], "stop: a damaged image ends the run; skip: another image takes its place"]


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How images are loaded; order and draws do not depend on it"""

    loader: Annotated[str, "folder, webdataset, webdataset-stream, ffcv, dali, or memory for a small set"] = "ffcv"
    workers: Annotated[int | Literal["auto"], "loader threads per process; auto: measured in the first seconds", 1] = (
        "auto"
    )
    crops: Annotated[
        Literal["auto", "host", "device"],
        "where crops are made; auto: on a GPU whose process has few cores, else on the host",
    ] = "auto"
    decode: Annotated[
        Literal["cpu", "gpu", "planes"],
        "who decodes JPEGs; gpu: nvJPEG, which leaves the crops to the GPU too; planes: libturbojpeg, which leaves "
        "colors to the crops of the host: faster, pixels change by 0.3 of 255 levels on average",
    ] = "cpu"
    hw_decoder_load: Annotated[
        float, "share of a batch, 0 to 1, that the JPEG engine of an A100 or H100 decodes for --loader dali", 0
    ] = 0.0
    renderer: Annotated[
        Literal["auto", "host", "device", "kornia"],
        "what renders after the crop, from the same draws; auto: host on a CPU, device on a GPU",
    ] = "auto"
    check: Annotated[
        Literal["decode", "digest"],
        "what finds damaged images; digest: also each image's sha256, when a process reads it for the first time",
    ] = "decode"
    source: Annotated[str, "folder that a --keep set was built from, for --loader folder"] = ""
    max_pixels: Annotated[int, "largest image that is read, px: decoded, it takes three bytes for each", 1] = MAX_PIXELS
    cache: Annotated[Path, "folder for downloaded tars of a remote set"] = Path("data/cache")
    stage: Annotated[
        str,
        "folder on a disk of this node, in place of --cache: tars and .beton files are copied there while they are "
        "read, also those of local sets; each is read there once it is whole",
    ] = ""
    cache_gb: Annotated[float, "maximum size of that folder, GB", 0] = 100.0
    cache_mbps: Annotated[
        float,
        "megabits per second (8: one megabyte) that a process brings into that folder at most; 0: no limit",
        0,
    ] = 0.0


def open_data(data: str, split: str, options: Loading, classes: str = "") -> Manifest:
    """The data set at `data`, or the newest complete one under data/shards, which is printed; only `classes` of it, if
    given."""
    from ..pipeline.choose import open_set  # with torch, like all that follows the options
    from .ranks import rank

    if not data:
        data = str(newest(SHARDS, split))
        if not rank():
            LOG.info(f"data: {data}, the newest {split} set (--{'data' if split == 'train' else 'val'} names another)")
    limit, mbps = int(options.cache_gb * GB), options.cache_mbps
    whole = open_set(data, split, Path(options.stage or options.cache), limit, options.max_pixels, mbps)
    return only(whole, classes) if classes else whole


@dataclass(frozen=True, kw_only=True)
class Sets(Loading):
    """Data sets"""

    data: Annotated[str, "a built training set (the newest under data/shards)"] = ""
    val: Annotated[str, "a built validation set (the newest under data/shards)"] = ""
    class_subset: Annotated[
        str, "only these classes, renumbered: FILE of class names, or clsset1, clsset1_comp, clsset2, clsset2_comp"
    ] = ""

    def training(self) -> Manifest:
        """The training set."""
        return open_data(self.data, "train", self, self.class_subset)

    def test(self) -> Manifest:
        """The validation set."""
        return open_data(self.val, "val", self, self.class_subset)
