"""Packs a tree of images as any kind of source."""

import base64
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq

from ..archives import tar

PAX = tarfile.PAX_FORMAT
KINDS = ["imagefolder", "ilsvrc", "parquet", "webdataset", "list", "tsv"]


def contents(tree):
    """{class: {file: bytes}} of the train split."""
    folders = sorted((tree / "train").iterdir())
    return {d.name: {f.name: f.read_bytes() for f in sorted(d.iterdir())} for d in folders}


def pack(tree, kind, out):
    """Write the train split into folder `out` as another kind of source; its path in there, "" for the folder."""
    found = contents(tree)
    rows = [(c, name, f, data) for c, (name, files) in enumerate(found.items()) for f, data in files.items()]
    rows = rows[1::2] + rows[::2]  # out of order, because a source sorts
    out.mkdir(exist_ok=True)
    if kind == "imagefolder":
        for _, name, file, data in rows:
            (out / "train" / name).mkdir(parents=True, exist_ok=True)
            (out / "train" / name / file).write_bytes(data)
    if kind == "ilsvrc":
        inner = [(f"{name}.tar", tar(files.items(), PAX)) for name, files in found.items()]
        (out / "ILSVRC2012_img_train.tar").write_bytes(tar(inner, PAX))
    if kind == "parquet":
        for part in range(2):
            half = rows[part::2]
            images = [{"bytes": d, "path": f"{f[:-5]}_{name}.JPEG"} for _, name, f, d in half]
            table = pa.table({"image": images, "label": [c for c, *_ in half]})
            (out / "data").mkdir(exist_ok=True)
            pq.write_table(table, out / "data" / f"train-0000{part}-of-00002.parquet", row_group_size=4)
    if kind == "webdataset":
        for part in range(2):
            samples = [
                m
                for c, name, f, d in rows[part::2]
                for m in ((f"{name}/{f}", d), (f"{name}/{f[:-5]}.cls", b"%d" % c), (f"{name}/{f[:-5]}.json", b"{}"))
            ]
            (out / f"pets-train-{part:06d}.tar").write_bytes(tar(samples, PAX))
    if kind == "list":
        pack(tree, "imagefolder", out)
        text = "".join(f"train/{name}/{f} {c} more\n" for c, name, f, _ in rows if " " not in f)
        (out / "train.txt").write_text(text)
        return "train.txt"
    if kind == "tsv":
        lines = [b"\t".join([f.encode(), b" %d " % c, b"0.5", base64.b64encode(d)]) for c, _, f, d in rows]
        (out / "train.tsv").write_bytes(b"\n".join(lines) + b"\n")
    return ""
