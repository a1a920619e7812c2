"""The programs around the main ones run and leave what they promise."""

import pytest
from PIL import Image

from viewstream.augment.recipes import VIEWS
from viewstream.shards.errors import UserError
from viewstream.tools import look


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
    assert "already exists" in again.stderr


@pytest.mark.full
def test_look_draws_a_row_a_picture_and_view(program, built, tmp_path):
    out = tmp_path / "views.png"
    done = program("tools/look.py", "--data", built.root, "--ids", "0-2", "--size", 96, "--out", out,
                   "--renderers", "reference,device")  # fmt: skip
    assert done.returncode == 0, done.stderr
    with Image.open(out) as page:
        assert page.size == (4 * 100, 6 * 112)  # original, both renderers, their difference; two views of three
        assert len(page.convert("RGB").getcolors(1 << 24)) > 1000  # images, not a blank page


def test_look_lists_every_recipe_and_who_does_what(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["look.py", "--list"])
    look.main()
    said = capsys.readouterr().out
    for name in VIEWS:
        assert f"\n{name}: " in f"\n{said}"
    ops = (
        "ColorJitter 0.4 0.4 0.4 0.1 p 0.8, Grayscale p 0.2, GaussianBlur 0.1-2 p 0.5, HorizontalFlip p 0.5, Normalize"
    )
    assert f"RandomResizedCrop 224 0.2-1, {ops}" in said
    rest = "the device renderer behind it: ColorJitter Grayscale GaussianBlur Normalize"
    assert f"DALI: RandomResizedCrop HorizontalFlip; {rest}" in said


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--ids", "90-99"], "rows 0-95"),
        (["--ids", "x"], "takes a-b or a,b,c"),
        (["--out", "x.foo"], "no PNG"),
        (["--views", "moco_v3"], "did you mean 'moco_v"),
        (["--renderers", "kornia"], "there are reference, device, dali"),
    ],
)
def test_look_refuses_what_it_cannot_show(built, words, reason, monkeypatch):
    monkeypatch.setattr("sys.argv", ["look.py", "--data", str(built.root), *words])
    with pytest.raises(UserError, match=reason):
        look.main()
