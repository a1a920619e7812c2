"""Which files of folders are images, and which classes those of val have."""

import os

import pytest
from PIL import Image, features

from viewstream.shards.encoding.encode import encode
from viewstream.shards.plain import KEPT
from viewstream.shards.sources.detect import kind_of, open_source
from viewstream.testing import check_source

from .folders import JPEG, TREE, TREE_PATHS, lay

FORMATS = {"ppm": "PPM", "pgm": "PPM", "pbm": "PPM", "pnm": "PPM", "jfif": "JPEG", "jpe": "JPEG", "avif": "AVIF"}
NO_SUFFIX = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF")


@pytest.mark.parametrize("suffix", FORMATS)
def test_images_of_rarer_suffixes_are_built(suffix, tmp_path, smooth_pixels, saved):
    image = Image.fromarray(smooth_pixels(1)).convert({"pgm": "L", "pbm": "1"}.get(suffix, "RGB"))
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    lay(tmp_path, *TREE[:4])
    (tmp_path / "train" / "cat" / f"3.{suffix.upper()}").write_bytes(saved(image, FORMATS[suffix]))
    source = open_source(str(tmp_path), "train")
    assert f"cat/3.{suffix.upper()}" in source.paths
    stored = encode(source.reader.read(f"cat/3.{suffix.upper()}"), KEPT)
    assert (stored.height, stored.width) == (60, 80)


@pytest.mark.parametrize("name", ["3", "2008.1234", "photo.jpg_large"])
def test_a_file_without_a_known_suffix_is_an_image_by_its_first_bytes(name, tmp_path, smooth_pixels, saved):
    image = Image.fromarray(smooth_pixels(1))
    forms = [form for form in NO_SUFFIX if form != "AVIF" or features.check("avif")]
    lay(tmp_path, *TREE[:4])
    for number, form in enumerate(forms):
        (tmp_path / "train" / "dog" / f"{number}{name}").write_bytes(saved(image, form))
    for number, data in enumerate((b"", b"text", b"BM is no bitmap", b"P1 neither", b"RIFF....AVI ")):
        (tmp_path / "train" / "cat" / f"{number}{name}").write_bytes(data)
    (tmp_path / "train" / "cat" / "1.jpg.bak").write_bytes(JPEG)
    os.mkfifo(tmp_path / "train" / "cat" / "pipe")
    source = open_source(str(tmp_path), "train")
    assert source.paths == TREE_PATHS[:2] + sorted([*TREE_PATHS[2:4], *(f"dog/{n}{name}" for n in range(len(forms)))])
    assert source.passed.counts == {"files that are no images": 6, "files that cannot be read": 1}


def test_known_suffixes_are_not_opened(tmp_path, monkeypatch):
    where = lay(tmp_path, *TREE, "train/cat/1.txt", "train/cat/1.JSON")
    monkeypatch.setattr("viewstream.shards.sources.local.Local.open", lambda *_: pytest.fail("a file was opened"))
    assert len(open_source(where, "train")) == 4


def test_img2datasets_folders_are_read(tmp_path):
    tars = [f"0000{n}{end}" for n in range(2) for end in (".tar", ".parquet", "_stats.json")]
    assert kind_of(lay(tmp_path / "tars", *tars), "train") == "webdataset"
    files = [
        f"0000{n}{end}" for n in range(2) for end in (".parquet", "_stats.json", f"/0000{n}0.jpg", f"/0000{n}0.txt")
    ]
    source = open_source(lay(tmp_path / "files", *files), "train")
    assert (source.classes, source.paths) == ((), ["00000/000000.jpg", "00001/000010.jpg"])


def test_labels_of_val_are_those_of_the_classes_of_train(tmp_path, capsys):
    train = [f"train/{name}/1.jpg" for name in "abcd"]
    source = open_source(lay(tmp_path / "part", *train, "val/d/1.jpg", "val/b/1.jpg", "train/empty/x.txt"), "val")
    assert (source.classes, source.label.tolist()) == (("a", "b", "c", "d"), [1, 3])
    assert not capsys.readouterr().err
    source = open_source(lay(tmp_path / "more", *train, "val/c/1.jpg", "val/aa/1.jpg"), "val")
    assert (source.classes, source.label.tolist()) == (("a", "b", "c", "d", "aa"), [2, 4])
    assert "has classes that train lacks (aa): their labels follow" in capsys.readouterr().err
    source = open_source(lay(tmp_path / "other", *train, "val/x/1.jpg", "val/y/1.jpg"), "val")
    assert (source.classes, source.label.tolist()) == (("x", "y"), [0, 1])
    assert "(x, y): labels count the classes of val alone" in capsys.readouterr().err


def test_kaggles_table_names_the_classes_of_unsorted_validation_images(tmp_path, capsys):
    root = tmp_path / "ILSVRC" / "Data" / "CLS-LOC"
    images = [f"ILSVRC2012_val_0000000{n}" for n in range(1, 4)]
    where = lay(root, "train/n02/a.JPEG", "train/n01/b.JPEG", "train/n03/c.JPEG", *(f"val/{n}.JPEG" for n in images))
    assert open_source(where, "val").classes == ()
    assert "no labels for ImageNet's validation images: put LOC_val_solution.csv" in capsys.readouterr().err
    rows = [f"{name},{wnid} 1 2 3 4 " for name, wnid in zip(images, ("n03", "n01", "n03"), strict=True)]
    (tmp_path / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *rows]))
    source = open_source(where, "val")
    assert (source.classes, source.label.tolist()) == (("n01", "n02", "n03"), [0, 2, 2])
    assert source.paths == [f"n01/{images[1]}.JPEG", f"n03/{images[0]}.JPEG", f"n03/{images[2]}.JPEG"]
    assert source.reader.read(source.places[0]) == JPEG
    check_source(lambda: open_source(where, "val"))
