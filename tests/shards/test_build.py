"""One pass, every format: same bytes everywhere, the same for every worker count, whole or absent."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import tarfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from viewstream.shards.build import build
from viewstream.shards.engine import in_order
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import uid_of
from viewstream.shards.plan import bytes_of
from viewstream.shards.read import open_beton
from viewstream.shards.subsets.part import Choice
from viewstream.shards.summary import summary
from viewstream.shards.verify import verify

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
        for row in range(len(made)):  # digest.py's law, the slow way
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
def test_the_output_is_byte_identical_for_one_two_and_three_workers(keep, options, tmp_path, monkeypatch, digests):
    monkeypatch.setattr("viewstream.shards.plan.BLOCK_SAMPLES", 6)  # enough blocks for three workers to mix up
    found = []
    for workers in (1, 2, 3):
        choice = options(workers=workers, out=tmp_path / f"out{workers}", format=ALL, keep=keep, shard_size="50KB")
        found.append(digests(build(choice).root))
    assert found[0] == found[1] == found[2]
    assert {"dataset.json", "manifest.parquet", "pets-full-train.beton"} < found[0].keys()


def test_raw_pixels_in_the_beton_are_those_of_the_jpegs_and_chosen_by_a_keyed_coin(options, tmp_path):
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


@pytest.mark.parametrize("side", [{"max_side": 40}, {"short_side": 40}])
def test_pictures_shrink_to_the_asked_side_and_never_grow(side, options, tree, jpeg):
    (tree / "train" / "cat" / "cat_0.JPEG").write_bytes(jpeg(1, 20, 30))
    made = build(options(**side))
    sides = made.hw.max(1) if "max_side" in side else made.hw.min(1)
    small = made.keys.index("cat/cat_0")
    assert made.hw[small].tolist() == [20, 30]
    assert set(np.delete(sides, small).tolist()) == {40}


def test_what_lies_in_which_tar_does_not_depend_on_encoded_sizes(options, tmp_path):
    shards = []
    for quality in (20, 95):
        made = build(options(quality=quality, out=tmp_path / f"q{quality}", shard_size="50KB"))
        shards.append(dict(zip(made.keys, made.shard.tolist(), strict=True)))
    assert shards[0] == shards[1]


def test_storage_order_mixes_the_classes_and_follows_the_seed_not_the_subset(options, tmp_path):
    whole = build(options(keep=True))
    assert np.abs(np.diff(whole.label)).astype(bool).mean() > 0.5
    other = build(options(keep=True, seed=1, out=tmp_path / "other"))
    assert whole.keys != other.keys
    part = build(options(keep=True, out=tmp_path / "part"), Choice("lt6", draw_subset=True))
    chosen = set(part.keys)
    assert 4 <= len(chosen) < 40
    assert part.keys == [key for key in whole.keys if key in chosen]
    assert part.info.subset["from"] == "draw"


@pytest.mark.parametrize("check", ["headers", "decode"])
def test_keep_stores_the_files_own_bytes(check, options, tree):
    made = build(options(keep=True, check=check, format=("folder",)))
    assert made.info.report["check"] == check
    for row, path in enumerate(made.strings("source")):
        assert made.path(row).read_bytes() == (tree / "train" / path).read_bytes()
    assert (made.shard == -1).all()
    assert (made.beton == -1).all()
    assert not made.tars()


def test_the_val_split_is_built_by_itself(options, tree, grow):
    grow(tree, {"cat": 3, "dog": 2, "eel": 1, "fox": 1}, split="val")
    made = build(options(split="val"))
    assert made.info.split == "val"
    assert made.info.name == "pets-full-val"
    assert len(made) == 7


def test_a_damaged_picture_stops_the_build_by_name_or_is_skipped_and_listed(options, tree, tmp_path):
    whole = build(options(out=tmp_path / "whole"))
    bad = {"cat/cat_3.JPEG": b"", "dog/dog_1.JPEG": b"garbage" * 50}
    bad["eel/eel_2.JPEG"] = (tree / "train" / "eel" / "eel_2.JPEG").read_bytes()[:-30]
    for path, data in bad.items():
        (tree / "train" / path).write_bytes(data)
    (tree / "train" / "fox" / "gone.jpg").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"(cat_3|dog_1|eel_2)\.JPEG|gone.jpg is damaged: .*--on-error skip"):
        build(options())
    assert not (tmp_path / "out").exists()
    made = build(options(on_error="skip", format=ALL))
    assert {row["source"] for row in made.info.report["skipped"]} == {*bad, "fox/gone.jpg"}
    assert made.keys == [key for key in whole.keys if f"{key}.JPEG" not in bad]
    assert made.beton.tolist() == list(range(37))
    assert "skipped" in summary(made)


def test_a_kept_picture_whose_pixels_the_beton_holds_must_decode(options, tree):
    path = tree / "train" / "cat" / "cat_3.JPEG"
    path.write_bytes(path.read_bytes()[:700] + b"\xff\xd9")
    raw = {"keep": True, "raw_fraction": 1.0, "format": ("ffcv",)}
    with pytest.raises(UserError, match=r"cat_3\.JPEG is damaged"):
        build(options(**raw))
    made = build(options(**raw, on_error="skip"))
    assert [row["source"] for row in made.info.report["skipped"]] == ["cat/cat_3.JPEG"]
    assert not verify(made)


def test_pipes_devices_and_holes_are_damaged_pictures_not_a_hang(options, tree):
    folder = tree / "train" / "cat"
    os.mkfifo(folder / "pipe.JPEG")
    (folder / "zero.JPEG").symlink_to("/dev/zero")
    with (folder / "holes.JPEG").open("wb") as file:
        file.truncate(1 << 40)
    causes = {row["source"]: row["cause"] for row in build(options(on_error="skip")).info.report["skipped"]}
    assert causes.keys() == {"cat/pipe.JPEG", "cat/zero.JPEG", "cat/holes.JPEG"}
    assert "is a pipe or a device, not a file" in causes["cat/pipe.JPEG"]


def test_odd_pictures_are_counted_in_the_report(options, tree, picture, saved):
    image = Image.fromarray(picture(1))
    (tree / "train" / "cat" / "cat_0.JPEG").write_bytes(saved(image, "PNG"))
    (tree / "train" / "cat" / "cat_1.JPEG").write_bytes(saved(image.convert("CMYK"), "JPEG"))
    (tree / "train" / "dog" / "dog_1.JPEG").write_bytes(saved(image.convert("L"), "JPEG"))
    made = build(options())
    assert made.info.report["normalised"] == {"cmyk": 1, "grey": 1, "png": 1}


def test_a_complete_set_and_foreign_folders_are_left_alone(options, tmp_path, digests):
    made = build(options())
    before = digests(made.root)
    with pytest.raises(UserError, match="already holds a complete data set: name another --out, or remove"):
        build(options(quality=50))
    assert digests(made.root) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("dear")
    with pytest.raises(UserError, match="holds files that no build wrote"):
        build(options(out=tmp_path / "mine"))
    with pytest.raises(UserError, match="is a file: name a folder"):
        build(options(out=tmp_path / "mine" / "thesis.tex"))
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "dear"


def test_the_builder_runs_with_the_core_install_alone():
    words = "import sys, viewstream.shards.build, viewstream.shards.summary; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", words], text=True, capture_output=True, check=True)
    assert not {"torch", "torchvision", "ffcv", "cv2", "numba", "webdataset"} & set(done.stdout.split())


def test_a_dead_worker_is_an_error_not_a_hang():
    with pytest.raises(UserError, match="a worker process died"):
        list(in_order(os._exit, [3] * 4, 2))


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


def test_the_tars_are_plain_ustar_and_hold_nothing_of_the_machine(options):
    for path in build(options()).tars():
        assert path.stat().st_size % tarfile.RECORDSIZE == 0
        with tarfile.open(path) as tar:
            members = tar.getmembers()
        assert {(m.mtime, m.uid, m.gid, m.mode, m.uname, m.pax_headers == {}) for m in members} == {
            (0, 0, 0, 0o644, "", True)
        }
        assert [m.name.rpartition(".")[2] for m in members] == ["jpg", "cls", "json"] * (len(members) // 3)


def test_sizes_are_read_as_people_write_them():
    assert [bytes_of(text) for text in ("256MB", "1 gb", "7K", "512")] == [256_000_000, 10**9, 7000, 512]
    with pytest.raises(UserError, match="write it like 256MB"):
        bytes_of("many")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": ()}, "names nothing to write"),
        ({"quality": 0}, "take 1 to 100"),
        ({"max_side": 0}, "leave no pixels"),
        ({"short_side": -1}, "leave no pixels"),
        ({"raw_fraction": 1.5}, "take 0 to 1"),
        ({"shard_size": "0MB"}, "is not a size"),
        ({"source": Path("nowhere")}, "nowhere/train does not exist: a source is laid out as"),
    ],
)
def test_options_that_cannot_work_are_refused_before_anything_is_written(changes, words, options, tmp_path):
    with pytest.raises(UserError, match=words):
        build(options(**changes))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("count", "grey"), [(80, 2), pytest.param(500, 9, marks=pytest.mark.full)])
def test_real_pictures_become_a_set(count, grey, shared, tmp_path, options):
    with tarfile.open(shared / "data" / "imagenet-sample.tar") as tar:
        members = [m for m in tar.getmembers() if m.isfile()][-count:]
        tar.extractall(tmp_path / "imagenet", members, filter="data")
    made = build(options(source=tmp_path / "imagenet", workers=2))
    assert len(made) == count
    assert Counter(made.info.counts) == {1: count}
    assert made.hw.max() == 400
    assert made.info.report == {"check": "decode", "normalised": {"grey": grey}, "suspect": [], "skipped": []}
    assert 30e3 < made.bytes.mean() < 45e3
    assert dataclasses.asdict(made.info)["encoding"] == {"max_side": 400, "quality": 90}


def test_a_source_of_damaged_pictures_alone_leaves_nothing(options, tree, tmp_path):
    for path in (tree / "train").rglob("*.JPEG"):
        path.write_bytes(b"no picture")
    with pytest.raises(
        UserError, match=r"all 40 pictures are damaged, the first by: it is no picture .*right source\?$"
    ):
        build(options(on_error="skip"))
    assert not (tmp_path / "out").exists()
