"""Builds: the same bytes in every format and for any number of workers."""

import dataclasses
import hashlib
import json
import subprocess
import sys
import tarfile
from collections import Counter
from importlib.util import find_spec

import numpy as np
import pytest
import simplejpeg

from viewstream.shards.building.build import build
from viewstream.shards.care.verify import verify
from viewstream.shards.formats.read import open_beton
from viewstream.shards.manifest import uid_of

ALL = ("webdataset", "ffcv", "folder")


def test_every_format_holds_the_bytes_that_the_manifest_describes(options):
    made = build(options(format=ALL, shard_size="30KB", max_side=48))
    assert len(made.tars()) > 2
    beton = (made.root / "pets-full-train.beton").read_bytes()
    where = np.frombuffer(beton, "<u8", len(made) * 3, len(beton) - len(made) * 24).reshape(-1, 3)
    for row, (key, sha256) in enumerate(zip(made.keys, made.strings("sha256"), strict=True)):
        data = made.path(row).read_bytes()
        assert hashlib.sha256(data).digest() == sha256
        assert len(data) == made.bytes[row]
        assert simplejpeg.decode_jpeg_header(data)[:2] == tuple(made.hw[row])
        offset = made.offset[row]
        assert made.tars()[made.shard[row]].read_bytes()[offset : offset + len(data)] == data
        assert made.beton[row] == row
        assert where[row].tolist()[0::2] == [row, len(data)]
        assert beton[where[row, 1] :][: len(data)] == data
        assert made.uid[row] == uid_of(key)
    for file in made.info.files:
        data = (made.root / file["file"]).read_bytes()
        for row in range(len(made)):  # the definition in digest.py, the slow way
            data = data.replace(made.path(row).read_bytes(), hashlib.sha256(made.path(row).read_bytes()).digest())
        assert hashlib.sha256(data).hexdigest() == file["digest"]
        assert (made.root / file["file"]).stat().st_size == file["bytes"]
    assert sum(f["samples"] for f in made.info.files) == 2 * len(made)


def test_labels_counts_and_sources_are_those_of_the_tree(options, tree):
    made = build(options())
    assert made.info.classes == ("cat", "dog", "eel", "fox")
    assert made.info.counts == (12, 10, 8, 10)
    for label, path, key in zip(made.label, made.strings("source"), made.keys, strict=True):
        assert made.info.classes[label] == path.split("/")[0]
        assert (tree / "train" / path).stem == key.split("/")[1]


@pytest.mark.parametrize("keep", [False, True])
def test_the_output_is_byte_identical_for_one_to_three_workers(keep, options, tmp_path, monkeypatch, digests):
    monkeypatch.setattr("viewstream.shards.building.layout.BLOCK_SAMPLES", 6)  # many blocks for three workers
    found = []
    for workers in (1, 2, 3):
        choice = options(workers=workers, out=tmp_path / f"out{workers}", format=ALL, keep=keep, shard_size="50KB")
        found.append(digests(build(choice).root))
    assert found[0] == found[1] == found[2]
    assert {"dataset.json", "manifest.parquet", "pets-full-train.beton"} < found[0].keys()


def test_a_keyed_coin_chooses_images_whose_pixels_are_raw_in_the_beton(options, tmp_path):
    made = build(options(raw_fraction=0.4, format=("ffcv", "folder")))
    reader = open_beton(made)
    raw = 0
    for row in range(len(made)):
        data, jpeg = reader.read(row), made.path(row).read_bytes()
        if isinstance(data, np.ndarray):
            raw += 1
            assert np.array_equal(data, simplejpeg.decode_jpeg(jpeg))
        else:
            assert data == jpeg
    assert 6 < raw < 28
    assert not verify(made)
    assert made.info.encoding["raw_fraction"] == 0.4


def test_the_builder_runs_with_the_core_install_alone():
    code = "import sys, viewstream.shards.building.build, viewstream.shards.care.summary; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert not {"torch", "torchvision", "ffcv", "cv2", "numba", "webdataset"} & set(done.stdout.split())


def test_stock_webdataset_reads_the_tars(options):
    if not find_spec("webdataset"):
        pytest.skip("webdataset is not installed")
    import webdataset

    made = build(options(shard_size="50KB"))
    urls = [str(path) for path in made.tars()]
    rows = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [row["__key__"] for row in rows] == made.keys
    assert [int(row["cls"]) for row in rows] == made.label.tolist()
    assert [hashlib.sha256(row["jpg"]).digest() for row in rows] == made.strings("sha256")
    assert [(p["height"], p["width"]) for p in (json.loads(r["json"]) for r in rows)] == [tuple(s) for s in made.hw]


def test_the_tars_are_plain_ustar_and_do_not_depend_on_the_machine(options):
    for path in build(options()).tars():
        assert path.stat().st_size % tarfile.RECORDSIZE == 0
        with tarfile.open(path) as tar:
            members = tar.getmembers()
        assert {(m.mtime, m.uid, m.gid, m.mode, m.uname, m.pax_headers == {}) for m in members} == {
            (0, 0, 0, 0o644, "", True)
        }
        assert [m.name.rpartition(".")[2] for m in members] == ["jpg", "cls", "json"] * (len(members) // 3)


@pytest.mark.parametrize(("count", "gray"), [(80, 2), pytest.param(500, 9, marks=pytest.mark.full)])
def test_real_images_become_a_set(count, gray, shared, tmp_path, options):
    with tarfile.open(shared / "data" / "imagenet-sample.tar") as tar:
        members = [m for m in tar.getmembers() if m.isfile()][-count:]
        tar.extractall(tmp_path / "imagenet", members)  # Python 3.11.2 knows no filter
    made = build(options(source=tmp_path / "imagenet", workers=2))
    assert len(made) == count
    assert Counter(made.info.counts) == {1: count}
    assert made.hw.max() == 400
    assert made.info.report == {"check": "decode", "normalised": {"grey": gray}, "suspect": [], "skipped": []}
    assert 30e3 < made.bytes.mean() < 45e3
    assert dataclasses.asdict(made.info)["encoding"] == {"max_side": 400, "quality": 90}
