"""make_static.py writes the files of a static set, and rejects what a JPEG cannot hold."""

import dataclasses
import errno
import json
import os
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from viewstream.pipeline.choose import open_reader
from viewstream.pipeline.cut import VERSION
from viewstream.pipeline.static.images import chosen, names_of
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest
from viewstream.tools import make_static
from viewstream.tools.make_static import Static, make
from viewstream.tools.static_preview import planned

from ..pages import change_page
from ..pairs import pairs
from .frozen_views import SIZE, frozen

MAKE = """
from pathlib import Path
from viewstream.tools import make_static
from viewstream.tools.make_static import Static, make

make_static.BLOCK = 2
def work(number, process, data, root):
    make(Static(data=Path(data), out=Path(root, str(number)), per_class=3, size={size}, workers=1))
    return "done"
"""
HOLD = """
import sys, time
from pathlib import Path
from viewstream.tools import make_static
with make_static._work_folder(Path(sys.argv[1])) as work:
    (work / "images").mkdir()
    print("held", flush=True)
    time.sleep(120)
"""


def test_a_dry_run_says_what_would_be_written_and_writes_nothing(built, tmp_path):
    options = Static(data=str(built.root), out=tmp_path / "set", per_class=3, size=SIZE, workers=1)
    text = planned(options)
    assert not (tmp_path / "set").exists()
    assert "images  12 of 4 classes, the first 3 of each" in text
    make(options)
    files = [*(tmp_path / "set").rglob("*.jpeg")]
    assert f"files  {len(files)} JPEGs" in text
    assert f"about {sum(path.stat().st_size for path in files) / 1e6:.1f} MB" in text  # all 12 were looked at
    with pytest.raises(UserError, match="already exists"):
        planned(options)


def contents(folder):
    """The bytes of each JPEG in a folder of classes, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*/*.jpeg")}


def test_the_folder_holds_the_first_images_of_each_class_by_name(built, static):
    rows = chosen(built, 3)
    by_class = {}
    for name in sorted(names_of(built, np.arange(len(built))).values()):
        by_class.setdefault(name.partition("/")[0], []).append(name)
    expected = sorted(name for names in by_class.values() for name in names[:3])
    assert sorted(names_of(built, rows).values()) == expected
    files = sorted(str(p.relative_to(static)) for p in static.rglob("*.jpeg"))
    assert files == sorted(f"{name}-{i}.jpeg" for name in expected for i in range(3))
    rows_of = {name: row for row, name in names_of(built, rows).items()}
    original, row = Image.open(static / f"{expected[0]}-0.jpeg"), rows_of[expected[0]]
    assert original.size == (built.width[row], built.height[row])
    assert Image.open(static / f"{expected[0]}-2.jpeg").size == (SIZE, SIZE)


def test_files_are_what_pil_writes_at_quality_75(built, static, tmp_path):
    row, *_ = rows = chosen(built, 1)
    (files,) = frozen(built, np.array([row]))
    for number, pixels in enumerate(files):
        Image.fromarray(pixels).save(tmp_path / "pil.jpeg")
        ours = (static / f"{names_of(built, rows)[row]}-{number}.jpeg").read_bytes()
        assert ours == (tmp_path / "pil.jpeg").read_bytes()


def test_the_tars_hold_the_same_bytes(static):
    manifest = Manifest.open(static)
    assert len(manifest) == 4 * 3 * 3
    reader = open_reader("webdataset", manifest)
    for row, key in enumerate(manifest.keys):
        assert reader.read(row) == (static / f"{key}.jpeg").read_bytes()


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_any_number_of_threads_writes_the_same_bytes(built, static, workers, tmp_path, monkeypatch):
    monkeypatch.setattr(make_static, "BLOCK", 2)  # several tasks at a time
    out = make(Static(data=built.root, out=tmp_path / "pets", per_class=3, size=SIZE, workers=workers))
    assert contents(out) == contents(static)


def test_a_set_that_a_killed_run_began_with_the_other_renderer_is_begun_again(built, static, tmp_path, monkeypatch):
    options = Static(data=built.root, out=tmp_path / "pets", per_class=3, size=SIZE)
    with monkeypatch.context() as patch:
        patch.setattr(make_static.shutil, "rmtree", lambda *a, **k: None)  # a killed run removes nothing
        patch.setattr(make_static, "_record", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make(dataclasses.replace(options, renderer="device"))
    assert [*tmp_path.glob("pets.partial/images/**/*.jpeg")]
    out = make(options)
    assert contents(out) == contents(static)
    assert [p.name for p in tmp_path.iterdir()] == ["pets"]


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.full)])
def test_one_of_two_that_make_a_set_at_once_makes_it_whole_and_the_other_is_refused(built, static, rounds, tmp_path):
    for number, answers in enumerate(pairs(MAKE.format(size=SIZE), rounds, built.root, tmp_path)):
        out = tmp_path / str(number)
        refused = {f"refused: another process is making {out}: wait for it, or name another --out"}
        refused.add(f"refused: {out} already exists: name another --out, or remove it first")
        assert "done" in answers
        assert refused & {*answers}
        assert contents(out) == contents(static)
    assert {path.name for path in tmp_path.iterdir()} == {str(number) for number in range(rounds)}


def test_a_set_is_refused_while_another_process_makes_it_and_begun_again_after_its_death(built, static, tmp_path):
    options = Static(data=built.root, out=tmp_path / "pets", per_class=3, size=SIZE, workers=1)
    with subprocess.Popen([sys.executable, "-c", HOLD, options.out], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another process is making"):
            make(options)
        assert (tmp_path / "pets.partial" / "images").exists()
        holder.kill()
    assert contents(make(options)) == contents(static)
    assert [p.name for p in tmp_path.iterdir()] == ["pets"]


def test_the_record_names_the_renderer_and_the_version_of_the_crop(static):
    record = json.loads((static / "static.json").read_text())
    assert (record["renderer"], record["crop_version"]) == ("host", VERSION)


@pytest.mark.full
def test_workers_and_formats_change_no_byte(built, static, program, tmp_path):
    out = tmp_path / "pets"
    options = ("--per-class", 3, "--size", SIZE, "--workers", 2)
    done = program("tools/make_static.py", "--data", built.root, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    files = [*out.rglob("*.jpeg"), out / "static.json"]
    assert len(files) == 4 * 3 * 3 + 1
    for path in files:
        assert path.read_bytes() == (static / path.relative_to(out)).read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["pets"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"mode": "hard", "views": 3}, "--views 2"),
        ({"mode": "hard", "recipe": "evaluation"}, "a recipe of random crops"),
        ({"recipe": "ssl_small_mask"}, "a mask hides normalized pixels"),
        ({"recipe": "moco_v3"}, "did you mean 'moco_v"),
        ({"format": ()}, "--format names nothing"),
    ],
)
def test_what_cannot_be_written_is_rejected_and_leaves_nothing(built, options, reason, tmp_path):
    with pytest.raises(UserError, match=reason):
        make(Static(**{"data": built.root, "out": tmp_path / "x", **options}))
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["../../../planted", "/planted", "..", "a/../../../planted"])
def test_a_class_whose_folder_would_be_elsewhere_is_refused_before_anything_is_written(built, name, tmp_path):
    root = shutil.copytree(built.root, tmp_path / "set")
    elsewhere = name if name[0] == "." else f"{tmp_path}{name}"
    change_page(root, lambda page: page["classes"].__setitem__(1, elsewhere))
    with pytest.raises(UserError, match="leads out of the set"):
        make(Static(data=root, out=tmp_path / "deep" / "static", per_class=1, size=SIZE, workers=1))
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_an_existing_folder_is_rejected_and_a_failed_run_leaves_nothing(built, tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match="already exists"):
        make(Static(data=built.root, out=tmp_path / "there"))
    monkeypatch.setattr(Image.Image, "save", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make(Static(data=built.root, out=tmp_path / "new", per_class=1, size=SIZE, workers=1))
    assert [p.name for p in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("what", ["an image", "the columns", "a tar"])
def test_a_disk_that_refuses_is_one_line_with_the_folder_and_leaves_nothing(built, static, what, workers, tmp_path):
    files = {"an image": min, "the columns": max}
    sizes = [path.stat().st_size for path in static.glob("*/*.jpeg")]
    room = files[what](sizes) if what in files else (static / "manifest.columns").stat().st_size
    formats = ("folder", "webdataset") if what == "a tar" else ("folder",)
    out = tmp_path / "pets"
    options = Static(data=built.root, out=out, per_class=3, size=SIZE, format=formats, workers=workers)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(UserError) as refused:
            make(options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(refused.value).startswith(f"{out} cannot be written (File too large): check free space")
    assert "or name another --out" in str(refused.value)
    assert not [*tmp_path.iterdir()]
    assert contents(make(options)) == contents(static)


@pytest.mark.parametrize("name", ["sync", "fsync", "mkdir", "replace"])
def test_an_error_of_the_disk_at_any_step_is_one_line(built, name, tmp_path, monkeypatch):
    out = tmp_path / "pets"
    options = Static(data=built.root, out=out, per_class=1, size=SIZE, workers=1)

    def refuse(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, name, refuse)
        with pytest.raises(UserError, match=rf"{out} cannot be written \(Input/output error\): check free space"):
            make(options)
    assert not [*tmp_path.iterdir()]


def test_an_error_of_the_disk_that_holds_the_images_names_them_and_not_the_static_set(built, tmp_path, monkeypatch):
    root = shutil.copytree(built.root, tmp_path / "set", ignore=shutil.ignore_patterns("folder", "*.beton"))
    tars = [line for line in built.info.files if line["file"].endswith(".tar")]
    change_page(root, lambda page: page.update(formats=["webdataset"], files=tars))

    def refuse(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", refuse)
    with pytest.raises(UserError, match=rf"{root}/.*tar at byte .* cannot be read \(Input/output error\)"):
        make(Static(data=root, out=tmp_path / "pets", per_class=1, size=SIZE, workers=2))
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
