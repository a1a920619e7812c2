"""look.py draws a sheet of views, lists the recipes, and rejects what it cannot show."""

import numpy as np
import pytest
from PIL import Image

from viewstream.augment.draw import draw
from viewstream.augment.recipes import VIEWS, moco_v2
from viewstream.augment.spec import ColorJitter, GaussianBlur, Grayscale, HorizontalFlip
from viewstream.shards.errors import UserError
from viewstream.tools import look, look_contact


@pytest.mark.full
def test_look_draws_one_row_per_image_and_view(program, built, tmp_path):
    out = tmp_path / "views.png"
    options = ("--ids", "0-2", "--size", 96, "--renderers", "reference,device")
    done = program("tools/look.py", "--data", built.root, *options, "--out", out)
    assert done.returncode == 0, done.stderr
    with Image.open(out) as page:
        assert page.size == (4 * 100, 6 * 112)  # original, both renderers, their difference; two views of three images
        assert len(page.convert("RGB").getcolors(1 << 24)) > 1000  # images, not a blank page


def test_a_contact_sheet_shows_each_image_and_what_was_drawn_for_its_views(in_process, built, tmp_path):
    words = ("--ids", "0-2", "--views", "dino", "--out", tmp_path / "a.png")
    done = in_process("tools/look.py", "--data", built.root, *words)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "a.png") as page:
        assert page.width == 112 + 2 * 118 + 8 * 62  # the image, two large and eight small views
        assert len(page.convert("RGB").getcolors(1 << 24)) > 1000


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
