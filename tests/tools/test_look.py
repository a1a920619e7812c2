"""look.py draws a sheet of views, lists the recipes, and rejects what it cannot show."""

import numpy as np
import pytest
from PIL import Image

from viewstream.augment.draw import draw
from viewstream.augment.recipes import VIEWS, moco_v2
from viewstream.augment.spec import ColorJitter, GaussianBlur, Grayscale, HorizontalFlip
from viewstream.shards.errors import UserError
from viewstream.tools import look, look_contact, look_page


@pytest.mark.full
def test_a_comparison_has_a_block_per_image_and_a_row_per_view(program, built, tmp_path):
    out = tmp_path / "views.png"
    options = ("--ids", "0-2", "--size", 96, "--renderers", "reference,device")
    done = program("tools/look.py", "--data", built.root, *options, "--out", out)
    assert done.returncode == 0, done.stderr
    with Image.open(out) as page:
        # in two columns: original, both renderers, their difference; below the title a name and two views, twice
        assert page.size == (2 * 4 * 100 + 14, 24 + 2 * (19 + 2 * 115) + 14)
        assert len(page.convert("RGB").getcolors(1 << 24)) > 1000  # images, not a blank page


def test_a_contact_sheet_shows_each_image_and_what_was_drawn_for_its_views(in_process, built, tmp_path):
    words = ("--ids", "0-2", "--views", "dino", "--out", tmp_path / "a.png")
    done = in_process("tools/look.py", "--data", built.root, *words)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "a.png") as page:
        assert page.width == 112 + 2 * 118 + 8 * 62  # the image, two large and eight small views
        assert len(page.convert("RGB").getcolors(1 << 24)) > 1000


@pytest.mark.parametrize(
    ("size", "number", "columns"), [((844, 160), 3, 1), ((348, 170), 8, 2), ((348, 170), 100, 6), ((100, 900), 2, 2)]
)
def test_many_images_stand_in_columns_so_that_no_sheet_is_a_tall_strip(size, number, columns):
    wide, high = look_page.arranged([Image.new("RGB", size)] * number, "a title").size
    assert wide == columns * (size[0] + 14) - 14
    assert high == 24 + -(-number // columns) * (size[1] + 14) - 14


def test_a_long_name_keeps_its_beginning_and_its_end():
    name = f"7 a class of {'x' * 200}/image_12"
    shown = look_page.fitting(name, 200, look_page.LARGE)
    assert look_page.LARGE.getlength(shown) <= 200
    first, last = shown.split("…")
    assert name.startswith(first)
    assert name.endswith(last)
    assert look_page.fitting("7 cat/1", 200, look_page.LARGE) == "7 cat/1"


def test_small_print_breaks_between_words_alone():
    words = look_contact.WORD.findall("crop 108 x 138, flip, b0.63 c1.22 s0.95 h-0.05, blur 1.4")
    assert words == ["crop", "108 x 138,", "flip,", "b0.63", "c1.22", "s0.95", "h-0.05,", "blur 1.4"]
    lines = look_page.wrapped(words, 56)
    assert " ".join(lines).split() == " ".join(words).split()
    assert max(map(look_page.SMALL.getlength, lines)) <= 56


def test_the_small_print_names_the_crop_and_the_ops_that_are_on():
    view = moco_v2(224)[0]
    drawn = draw(view, np.arange(50, dtype=np.uint64), np.tile([300, 400], (50, 1)), seed=0, epoch=0, number=0)
    texts = [look_contact.drawn(view, drawn, row) for row in range(50)]
    width, height = drawn[0]["box"][7, [3, 2]]
    assert texts[7].startswith(f"crop {width} x {height}")
    for word, op in (("gray", Grayscale), ("flip", HorizontalFlip), ("blur", GaussianBlur), (" h", ColorJitter)):
        at = next(n for n, one in enumerate(view) if isinstance(one, op))
        assert [word in text.partition(",")[2] for text in texts] == drawn[at]["on"].tolist()


def test_look_lists_every_recipe_and_the_renderer_of_each_op(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["look.py", "--list"])
    look.main()
    printed = capsys.readouterr().out
    for name in VIEWS:
        assert f"\n{name}: " in f"\n{printed}"
    ops = (
        "ColorJitter 0.4 0.4 0.4 0.1 p 0.8, Grayscale p 0.2, GaussianBlur 0.1-2 p 0.5, HorizontalFlip p 0.5, Normalize"
    )
    assert f"RandomResizedCrop 224 0.2-1, {ops}" in printed
    left = "then the device renderer: ColorJitter Grayscale GaussianBlur Normalize"
    assert f"DALI: RandomResizedCrop HorizontalFlip; {left}" in printed


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["--ids", "90-99"], "rows 0-95"),
        (["--ids", "x"], "takes a-b or a,b,c"),
        (["--out", "x.foo"], "no PNG"),
        (["--views", "moco_v3"], "did you mean 'moco_v"),
        (["--renderers", "kornia"], "there are reference, device, dali"),
    ],
)
def test_look_rejects_what_it_cannot_show(built, argv, reason, monkeypatch):
    monkeypatch.setattr("sys.argv", ["look.py", "--data", str(built.root), *argv])
    with pytest.raises(UserError, match=reason):
        look.main()
