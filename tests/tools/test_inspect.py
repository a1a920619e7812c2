"""The table of inspect_shards.py equals counts made by hand, and its figure shows every kind of set."""

import json
import shutil

import pytest
from PIL import Image

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.manifest import Manifest

TOOL = "tools/inspect_shards.py"
COUNTS = {"ant": 101, "bee": 100, "cat": 20, "dog": 19, "eel": 1}  # on both sides of both bounds


@pytest.fixture(scope="module")
def long_tail(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """241 images of 30 x 20 px in five classes, ten of them gray."""
    root = tmp_path_factory.mktemp("tail")
    for name, count in COUNTS.items():
        (root / "in" / "train" / name).mkdir(parents=True)
        for n in range(count):
            image = Image.new("RGB", (30, 20), (n, 80, 160))
            image = image.convert("L") if name == "bee" and n < 10 else image
            image.save(root / "in" / "train" / name / f"{n}.JPEG")
    return build(BuildOptions(source=root / "in", out=root / "set", format=("webdataset",), workers=1))


def lines(text: str) -> dict[str, str]:
    """Name -> text of the table; a line without a name continues the line above."""
    table: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        name = line[:12].strip() or name
        table[name] = f"{table[name]}\n{line[14:]}" if name in table else line[14:]
    return table


def test_the_table_equals_counts_made_by_hand(program, long_tail):
    done = program(TOOL, long_tail.root, "--no-picture")
    assert done.returncode == 0, done.stderr
    table = lines(done.stdout)
    assert (table["name"], table["split"], table["samples"]) == ("in-full-train", "train", "241")
    assert table["classes"] == "5 filled of 5"
    assert table["a class"] == "most 101, least 1, mean 48.2, median 20.0, total 241 samples"
    assert [line.split() for line in table["shots"].split("\n")] == [
        ["many", "(>", "100)", "1", "class,", "41.9%", "of", "samples"],
        ["medium", "(20..100)", "2", "classes,", "49.8%", "of", "samples"],
        ["few", "(<", "20)", "2", "classes,", "8.3%", "of", "samples"],
    ]
    assert table["webdataset"] == f"1 file, {long_tail.tars()[0].stat().st_size / 1e3:.1f} KB"
    assert table["bytes"] == f"{long_tail.bytes.sum() / 1e3:.1f} KB of images"
    assert table["height"].split() == ["20"] * 5
    assert table["width"].split() == table["longer side"].split() == ["30"] * 5
    assert table["encoding"] == "quality 90, max side 400"
    assert [table[kind] for kind in ("normalised", "suspect", "skipped", "missing")] == ["grey 10", "0", "0", "0"]
    assert table["subset"].startswith("full\nfrom source")
    assert table["tool"] == long_tail.info.tool
    assert not (long_tail.root / "inspect.png").exists()


@pytest.mark.full
def test_every_format_is_named_and_a_validation_set_has_no_shots(in_process, built_val):
    done = in_process(TOOL, built_val.root, "--no-picture")
    assert done.returncode == 0, done.stderr
    table = lines(done.stdout)
    assert "shots" not in table
    assert table["webdataset"].startswith("1 file, ")
    assert table["ffcv"].startswith("1 file, ")
    assert table["folder"] == f"24 files, {built_val.bytes.sum() / 1e3:.1f} KB"


@pytest.mark.parametrize("form", ["webdataset", *(pytest.param(f, marks=pytest.mark.full) for f in ("ffcv", "folder"))])
def test_the_figure_is_drawn_from_every_format(in_process, pets, tmp_path, form):
    made = build(BuildOptions(source=pets, out=tmp_path / "set", split="val", format=(form,), workers=1))
    png = tmp_path / "new" / "set.png"
    done = in_process(TOOL, made.root, "--png", png)
    assert done.returncode == 0, done.stderr
    assert lines(done.stdout)["figure"] == str(png)
    with Image.open(png) as page:
        assert page.width == 1440
        assert 1000 < page.height < 1700  # three rows of eight images below the charts
        assert len(page.convert("RGB").getcolors(1 << 24)) > 5000  # images, not a blank page


@pytest.mark.full
def test_an_unlabeled_set_is_named_so_and_drawn(in_process, pets, tmp_path):
    shutil.copytree(pets / "val" / "cat", tmp_path / "flat")
    made = build(BuildOptions(source=tmp_path / "flat", out=tmp_path / "set", format=("folder",), workers=1))
    done = in_process(TOOL, made.root)
    assert done.returncode == 0, done.stderr
    table = lines(done.stdout)
    assert table["unlabeled"] == "all samples"
    assert not {"classes", "a class", "shots"} & table.keys()
    with Image.open(made.root / "inspect.png") as page:
        assert page.width == 1440


def test_what_cannot_be_shown_is_an_error_of_one_line(in_process, built_val, tmp_path):
    cases = [
        ((tmp_path / "nowhere",), "does not exist"),
        ((tmp_path,), "is not a complete data set"),
        ((), "required: DIR"),
        ((built_val.root, "--png", "x.jpg"), "no PNG"),
        ((built_val.root, "--words", tmp_path / "gone.txt"), "gone.txt cannot be read"),
    ]
    for argv, reason in cases:
        done = in_process(TOOL, *argv)
        assert done.returncode == 2
        assert reason in done.stderr
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1


def test_a_link_that_came_with_a_set_is_replaced_by_the_figure(in_process, built_val, tmp_path):
    root, mine = shutil.copytree(built_val.root, tmp_path / "set"), tmp_path / "mine"
    mine.write_bytes(b"precious")
    (root / "inspect.png").symlink_to(mine)
    assert in_process(TOOL, root).returncode == 0
    assert mine.read_bytes() == b"precious"
    assert not (root / "inspect.png").is_symlink()
    Image.open(root / "inspect.png").load()


@pytest.mark.full
def test_a_damaged_image_is_named(in_process, built_val, tmp_path):
    shutil.copytree(built_val.root, tmp_path / "set")
    for tar in (tmp_path / "set").glob("*.tar"):
        tar.write_bytes(bytes(tar.stat().st_size))
    done = in_process(TOOL, tmp_path / "set")
    assert done.returncode == 2
    assert "is damaged" in done.stderr
    assert "verify_shards.py" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_figures_of_a_set_as_json(in_process, built):
    page = json.loads(in_process("tools/inspect_shards.py", built.root, "--json").stdout)
    assert page["classes"] == {"cat": 24, "dog": 24, "eel": 24, "fox": 24}
    assert page["identity"] == built.identity
    assert page["width"]["most"] == built.width.max()


def test_what_is_damaged_as_json(in_process, built, tmp_path):
    copy = shutil.copytree(built.root, tmp_path / "set")
    assert json.loads(in_process("tools/verify_shards.py", copy, "--json").stdout)["damaged"] == []
    (copy / "folder" / f"{built.key(5)}.jpg").unlink()
    done = in_process("tools/verify_shards.py", copy, "--json")
    assert done.returncode == 2
    (damage,) = json.loads(done.stdout)["damaged"]
    assert damage["samples"] == [built.key(5)]
