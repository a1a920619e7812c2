"""Damaged and odd images in a build: named, skipped and listed, counted, never a hang."""

import os

import pytest
from PIL import Image

from viewstream.shards.building.build import build
from viewstream.shards.care.summary import summary
from viewstream.shards.care.verify import verify
from viewstream.shards.engine import in_order
from viewstream.shards.errors import UserError


def test_a_damaged_image_stops_the_build_by_name_or_is_skipped_and_listed(options, tree, tmp_path):
    whole = build(options(out=tmp_path / "whole"))
    bad = {"cat/cat_3.JPEG": b"", "dog/dog_1.JPEG": b"garbage" * 50}
    bad["eel/eel_2.JPEG"] = (tree / "train" / "eel" / "eel_2.JPEG").read_bytes()[:-30]
    for path, data in bad.items():
        (tree / "train" / path).write_bytes(data)
    (tree / "train" / "fox" / "gone.jpg").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"(cat_3|dog_1|eel_2)\.JPEG|gone.jpg is damaged: .*--on-error skip"):
        build(options())
    assert not (tmp_path / "out").exists()
    made = build(options(on_error="skip", format=("webdataset", "ffcv", "folder")))
    assert {row["source"] for row in made.info.report["skipped"]} == {*bad, "fox/gone.jpg"}
    assert made.keys == [key for key in whole.keys if f"{key}.JPEG" not in bad]
    assert made.beton.tolist() == list(range(37))
    assert "skipped" in summary(made)


def test_a_source_of_damaged_images_alone_leaves_nothing(options, tree, tmp_path):
    for path in (tree / "train").rglob("*.JPEG"):
        path.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"all 40 images are damaged, the first by: it is no image .*right source\?$"):
        build(options(on_error="skip"))
    assert not (tmp_path / "out").exists()


def test_a_kept_image_whose_pixels_the_beton_holds_must_decode(options, tree):
    path = tree / "train" / "cat" / "cat_3.JPEG"
    path.write_bytes(path.read_bytes()[:700] + b"\xff\xd9")
    raw = {"keep": True, "raw_fraction": 1.0, "format": ("ffcv",)}
    with pytest.raises(UserError, match=r"cat_3\.JPEG is damaged"):
        build(options(**raw))
    made = build(options(**raw, on_error="skip"))
    assert [row["source"] for row in made.info.report["skipped"]] == ["cat/cat_3.JPEG"]
    assert not verify(made)


def test_pipes_devices_and_holes_are_damaged_images_not_a_hang(options, tree):
    folder = tree / "train" / "cat"
    os.mkfifo(folder / "pipe.JPEG")
    (folder / "zero.JPEG").symlink_to("/dev/zero")
    with (folder / "holes.JPEG").open("wb") as file:
        file.truncate(1 << 40)
    causes = {row["source"]: row["cause"] for row in build(options(on_error="skip")).info.report["skipped"]}
    assert causes.keys() == {"cat/pipe.JPEG", "cat/zero.JPEG", "cat/holes.JPEG"}
    assert "is a pipe or a device, not a file" in causes["cat/pipe.JPEG"]


def test_odd_images_are_counted_in_the_report(options, tree, smooth_pixels, saved):
    image = Image.fromarray(smooth_pixels(1))
    (tree / "train" / "cat" / "cat_0.JPEG").write_bytes(saved(image, "PNG"))
    (tree / "train" / "cat" / "cat_1.JPEG").write_bytes(saved(image.convert("CMYK"), "JPEG"))
    (tree / "train" / "dog" / "dog_1.JPEG").write_bytes(saved(image.convert("L"), "JPEG"))
    made = build(options())
    assert made.info.report["normalised"] == {"cmyk": 1, "grey": 1, "png": 1}


def test_a_dead_worker_is_an_error_not_a_hang():
    with pytest.raises(UserError, match="a worker process died"):
        list(in_order(os._exit, [3] * 4, 2))
