"""The programs around the main ones run and leave what they promise."""

import json

import pytest
from PIL import Image


def test_textures_are_an_image_folder_and_the_same_twice(program, tmp_path):
    for name in ("a", "b"):
        done = program("tools/textures.py", "--out", tmp_path / name, "--train", 1, "--val", 1)
        assert done.returncode == 0, done.stderr
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.JPEG"))
    assert len(files) == 2 * 12
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        with Image.open(tmp_path / "a" / file) as image:
            assert 300 <= max(image.size) <= 500
    again = program("tools/textures.py", "--out", tmp_path / "a")
    assert again.returncode == 2
    assert "is there already" in again.stderr


def test_look_draws_a_row_a_picture(program, built, tmp_path):
    out = tmp_path / "views.png"
    done = program("tools/look.py", "--data", built.root, "--ids", "0-2", "--size", 96, "--out", out)
    assert done.returncode == 0, done.stderr
    with Image.open(out) as page:
        assert page.size == (3 * 100, 3 * 116)
        assert len(page.convert("RGB").getcolors(1 << 24)) > 1000  # pictures, not a blank page


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--ids", "90-99"), "rows 0-95"),
        (("--ids", "x"), "takes a-b or a,b,c"),
        (("--out", "x.foo"), "no PNG"),
    ],
)
def test_look_refuses_what_it_cannot_show(program, built, words, reason):
    done = program("tools/look.py", "--data", built.root, *words)
    assert done.returncode == 2
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_bench_loader_measures_every_door_against_the_floor(program, built, tmp_path):
    out = tmp_path / "rates.json"
    done = program("tools/bench_loader.py", "--data", built.root, "--size", 32, "--batch-size", 16, "--rounds", 1,
                   "--out", out)  # fmt: skip
    assert done.returncode == 0, done.stderr
    rates = json.loads(out.read_text())["samples_per_second"]
    assert {"floor: decode only", "folder", "webdataset"} <= rates.keys()
    assert min(rates.values()) > 0
