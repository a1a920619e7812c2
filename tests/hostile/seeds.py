"""Whole files of each kind that a parser reads, with which mutations begin."""

import gzip
import io
import json
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from viewstream.shards.building import records
from viewstream.shards.columns import FILE
from viewstream.shards.files import PAGE
from viewstream.shards.formats.beton import BetonWriter
from viewstream.shards.seals import opened
from viewstream.shards.table import TABLE

from .parsers import make_set


def seeds(folder: Path) -> dict[str, list[bytes]]:
    """Whole files of each kind, which mutations begin with."""
    make_set(folder / "seed")
    jpeg, png, tar, beton, images, record, packed = (io.BytesIO() for _ in range(7))
    image = Image.fromarray(np.arange(8 * 9 * 3, dtype=np.uint8).reshape(8, 9, 3))
    image.save(jpeg, "JPEG")
    image.save(png, "PNG")
    _pack(tar, {"a/0.jpg": jpeg.getvalue(), "a/0.cls": b"0", "a/0.json": b'{"label": 0}', "a/0.txt": b"x"})
    writer = BetonWriter(beton, 2)  # pyright: ignore
    for label in range(2):
        writer.add(jpeg.getvalue(), bytes(32), 8, 9, label)
    writer.end()
    pq.write_table(pa.table({"image": [{"bytes": jpeg.getvalue(), "path": "a.jpg"}] * 2, "label": [0, 1]}), images)
    text = {"digest": "", "tar": None, "beton": [0, 0], "kinds": {}, "suspect": [], "skipped": []}
    pq.write_table(records.ROWS.empty_table().replace_schema_metadata({records.NOTE: json.dumps(text)}), record)
    packed.write(gzip.compress(b"a/b.jpg 1\n", mtime=0))
    lines = b'c/b.jpg 0\nc/d e.jpg, 1\n"x y" 2\n# none\n'
    return {
        "page": [json.dumps(opened(json.loads((folder / "seed" / PAGE).read_bytes()))).encode()],
        "columns": [(folder / "seed" / FILE).read_bytes()],
        "table": [(folder / "seed" / TABLE).read_bytes()],
        "beton": [beton.getvalue()],
        "tar": [tar.getvalue()],
        "list": [lines],
        "classes": [b"cat\ndog\n"],
        "packed-list": [packed.getvalue()],
        "record": [record.getvalue()],
        "jpeg": [jpeg.getvalue()],
        "image": [jpeg.getvalue(), png.getvalue()],
        "static-image": [jpeg.getvalue()],
        "tsv": [b"a\t0\tAAAA\nb\t1\tAAAA\n"],
        "line-index": [b"0\n9\n"],
        "images-table": [images.getvalue()],
        "note": [b"3", b'{"label": 3, "a": {"b": 1}}'],
        "matlab": [bytes(126) + b"IM" + _element(14, MATRIX)],
        "checkpoint": checkpoints(),
        "checkpoint-pickle": [zipfile.ZipFile(io.BytesIO(checkpoints()[0])).read("archive/data.pkl")],
        "kaggle": [b"ImageId,PredictionString\nx_1,n01440764 1 2 3 4 \n"],
    }


def checkpoints() -> list[bytes]:
    """A small checkpoint, as torch writes it now and wrote it once, and as safetensors does."""
    import safetensors.torch
    import torch

    state = {"conv1.weight": torch.arange(4.0).reshape(1, 4), "bn1.num_batches_tracked": torch.tensor(3)}
    content = {"arch": "resnet18", "epoch": 3, "state_dict": {f"module.encoder_q.{k}": v for k, v in state.items()}}
    files = io.BytesIO(), io.BytesIO()
    for file, now in zip(files, (True, False), strict=True):
        torch.save(content, file, _use_new_zipfile_serialization=now)
    return [*(file.getvalue() for file in files), safetensors.torch.save(state)]


def _element(kind: int, data: bytes) -> bytes:
    """An element of a MATLAB file."""
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


MATRIX = b"".join((_element(6, bytes([6, *bytes(7)])), _element(5, bytes(8)), _element(1, b"a"), _element(2, b"5")))


def _pack(file: io.BytesIO, members: dict[str, bytes]) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
