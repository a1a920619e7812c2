"""Archives and tables by their names: the kinds of source that may lie beside images."""

import os

TARS = {"train": "ILSVRC2012_img_train.tar", "val": "ILSVRC2012_img_val.tar"}
TABLES = {"train": ("train.tsv",), "val": ("val.tsv", "test.tsv")}
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
KINDS = {".tar": "webdataset", ".parquet": "parquet", ".tsv": "tsv"}


def packed_kind(name: str) -> str | None:
    """The kind of source that a file is by its name; None for neither archive nor table."""
    if name.lower().endswith(COMPRESSED):  # refused there, by name
        return "webdataset"
    return "ilsvrc" if name in TARS.values() else KINDS.get(os.path.splitext(name)[1].lower())
