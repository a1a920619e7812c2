"""Static augmented sets: what the trainer would see, frozen; read back as three views of each picture."""

import json

import numpy as np
import pytest
import simplejpeg
import torch
from PIL import Image

from viewstream.augment.crops import cuts, on_device, rest
from viewstream.augment.device import pack, render
from viewstream.augment.draw import draw
from viewstream.augment.recipes import views_of
from viewstream.augment.spec import Normalize
from viewstream.pipeline.choose import open_door
from viewstream.pipeline.frozen import bare, chosen, names_of, one_thread, pictures
from viewstream.pipeline.order import Plan
from viewstream.pipeline.resize import cut
from viewstream.pipeline.static import StaticSet
from viewstream.pipeline.stream import Stream
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest
from viewstream.tools.make_static import Static, make

SIZE = 48


@pytest.fixture(scope="module")
def static(built, tmp_path_factory):
    """Three pictures a class, as class folders and as tars."""
    out = tmp_path_factory.mktemp("static") / "pets"
    return make(Static(data=built.root, out=out, per_class=3, size=SIZE, format=("folder", "webdataset"), workers=1))


def frozen(manifest, rows, mode="normal", count=2):
    door = open_door("webdataset", manifest)
    views = bare(views_of("moco_v2", SIZE), count, mode)
    with one_thread():
        return [*pictures(manifest, door, rows, views, mode=mode)]


def levels(x):
    """[N, 3, S, S] in 0..1 -> [N, S, S, 3] uint8."""
    return (x * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def test_pixels_equal_the_device_renderers_before_it_normalises(built):
    """0 levels, whatever the batch; on one thread, since sums depend on the number of threads."""
    rows = np.arange(24)
    ours, door = frozen(built, rows), open_door("folder", built)
    hw, images = built.hw[rows], [simplejpeg.decode_jpeg(door.read(row)) for row in rows]
    for v, view in enumerate(views_of("moco_v2", SIZE)):
        drawn = draw(view, built.uid[rows], hw, seed=0, epoch=0, number=v)
        pixels = np.empty((len(rows), SIZE, SIZE, 3), np.uint8)
        for image, box, out in zip(images, cuts(view, drawn, hw), pixels, strict=True):
            cut(image.reshape(-1), image.shape[1], box, SIZE, out.reshape(-1))
        ops = tuple(op for op in on_device(view) if not isinstance(op, Normalize))
        with one_thread():
            theirs = render(ops, torch.from_numpy(pixels), torch.from_numpy(pack(rest(view, drawn), len(rows))))
        np.testing.assert_array_equal(levels(theirs), np.stack([files[1 + v] for files in ours]))
    for image, files in zip(images, ours, strict=True):
        np.testing.assert_array_equal(files[0], image)


def test_pixels_are_what_the_stream_shows_a_trainer_in_epoch_0(built):
    """Its CPU renderer rounds a thousandth of a level elsewhere, and normalised values are not exact."""
    views = views_of("moco_v2", SIZE)
    loader = Stream(built, Plan(len(built), 24, seed=0), views, open_door("folder", built), threads=1)
    batch = next(iter(loader.epoch(0)))
    loader.close()
    ours = frozen(built, batch.index.numpy())
    op = views[0][-1]
    for v, x in enumerate(batch.views):
        mean, std = (torch.tensor(c).view(3, 1, 1) for c in (op.mean, op.std))
        gap = levels(x * std + mean).astype(int) - np.stack([files[1 + v] for files in ours])
        assert abs(gap).max() <= 1
        assert (gap != 0).mean() < 1e-3


def test_the_folder_holds_the_first_pictures_of_each_class_by_name(built, static):
    rows = chosen(built, 3)
    by_class = {}
    for name in sorted(names_of(built)):
        by_class.setdefault(name.partition("/")[0], []).append(name)
    expected = sorted(name for names in by_class.values() for name in names[:3])
    assert sorted(names_of(built)[row] for row in rows) == expected
    files = sorted(str(p.relative_to(static)) for p in static.rglob("*.jpeg"))
    assert files == sorted(f"{name}-{i}.jpeg" for name in expected for i in range(3))
    original, row = Image.open(static / f"{expected[0]}-0.jpeg"), names_of(built).index(expected[0])
    assert original.size == (built.width[row], built.height[row])
    assert Image.open(static / f"{expected[0]}-2.jpeg").size == (SIZE, SIZE)


def test_files_are_what_pil_writes_at_quality_75(built, static, tmp_path):
    row = chosen(built, 1)[0]
    (files,) = frozen(built, np.array([row]))
    for number, pixels in enumerate(files):
        Image.fromarray(pixels).save(tmp_path / "pil.jpeg")
        ours = (static / f"{names_of(built)[row]}-{number}.jpeg").read_bytes()
        assert ours == (tmp_path / "pil.jpeg").read_bytes()


def test_the_tars_hold_the_same_bytes(static):
    manifest = Manifest.open(static)
    assert len(manifest) == 4 * 3 * 3
    door = open_door("webdataset", manifest)
    for row, key in enumerate(manifest.keys):
        assert door.read(row) == (static / f"{key}.jpeg").read_bytes()


@pytest.mark.full
def test_workers_and_formats_change_no_byte(built, static, program, tmp_path):
    out = tmp_path / "pets"
    done = program("tools/make_static.py", "--data", built.root, "--out", out, "--per-class", 3, "--size", SIZE,
                   "--workers", 2)  # fmt: skip
    assert done.returncode == 0, done.stderr
    files = [*out.rglob("*.jpeg"), out / "static.json"]
    assert len(files) == 4 * 3 * 3 + 1
    for path in files:
        assert path.read_bytes() == (static / path.relative_to(out)).read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["pets"]


def test_every_view_and_mode_is_read_back(built, tmp_path):
    out = make(Static(data=built.root, out=tmp_path / "easy", mode="easy", per_class=2, size=SIZE, workers=1))
    assert json.loads((out / "static.json").read_text())["mode"] == "easy"
    for mode, (first, second) in {"normal": (1, 2), "g-mask": (3, 4), "rand-avg-mask": (9, 10)}.items():
        loader = StaticSet(out, mode, batch=3)
        batches = [*loader.epoch(0)]
        loader.close()
        assert [len(b.index) for b in batches] == [3, 3, 2]
        assert torch.cat([b.target for b in batches]).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
        x = torch.cat([b.views[2] for b in batches])
        file = loader.items[5].files[2]
        assert file.name.endswith(f"-{second}.jpeg")
        assert loader.items[5].files[1].name.endswith(f"-{first}.jpeg")
        pixels = torch.from_numpy(np.asarray(Image.open(file)).copy()).permute(2, 0, 1) / 255
        op = Normalize()
        expected = (pixels - torch.tensor(op.mean).view(3, 1, 1)) / torch.tensor(op.std).view(3, 1, 1)
        torch.testing.assert_close(x[5], expected, rtol=0, atol=1e-4)


def test_ranks_read_each_picture_once(static):
    loaders = [StaticSet(static, batch=4, world=2, rank=r) for r in range(2)]
    seen = [i for loader in loaders for b in loader.epoch(0) for i in b.index.tolist()]
    for loader in loaders:
        loader.close()
    assert sorted(seen) == list(range(12))


def test_grey_and_cmyk_pictures_are_read_as_colour(tmp_path, photos):
    (tmp_path / "cat").mkdir()
    picture = photos(1)[0]
    for number, mode in enumerate(("CMYK", "L", "RGB")):
        image = picture if number == 0 else picture.resize((SIZE, SIZE))
        image.convert(mode).save(tmp_path / "cat" / f"a-b-{number}.jpeg", quality=95)
    loader = StaticSet(tmp_path)
    (batch,) = loader.epoch()
    loader.close()
    grey, colour = (torch.tensor(Normalize().std).view(3, 1, 1) * x[0] for x in batch.views[1:])
    mean = torch.tensor(Normalize().mean).view(3, 1, 1)
    assert (grey + mean).std(dim=0).max() < 1e-5
    assert (colour + mean).std(dim=0).max() > 0.05
    centre = torch.tensor(Normalize().std).view(3, 1, 1) * batch.views[0][0] + mean
    assert 0.05 < (centre.mean() - (colour + mean).mean()).abs() + 0.1 < 0.35  # not a negative


def test_a_missing_view_is_named_with_what_makes_it(static, tmp_path):
    with pytest.raises(UserError, match=r"-3.jpeg is missing, which mode g-mask needs.*--mode easy"):
        StaticSet(static, "g-mask")
    (tmp_path / "cat").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "cat" / "x-0.jpeg")
    with pytest.raises(UserError, match=r"x-1.jpeg is missing.*--views 2"):
        StaticSet(tmp_path)
    with pytest.raises(UserError, match="did you mean 'g-mask'"):
        StaticSet(static, "gmask")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"mode": "hard", "views": 3}, "--views 2"),
        ({"mode": "hard", "recipe": "evaluation"}, "a recipe of random crops"),
        ({"recipe": "ssl_small_mask"}, "a mask hides normalised pixels"),
        ({"recipe": "moco_v3"}, "did you mean 'moco_v"),
        ({"format": ()}, "--format names nothing"),
    ],
)
def test_what_cannot_be_frozen_is_refused_and_leaves_nothing(built, words, reason, tmp_path):
    with pytest.raises(UserError, match=reason):
        make(Static(**{"data": built.root, "out": tmp_path / "x", **words}))
    assert not [*tmp_path.iterdir()]


def test_an_existing_folder_is_refused_and_a_broken_run_leaves_nothing(built, tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match="is there already"):
        make(Static(data=built.root, out=tmp_path / "there"))
    monkeypatch.setattr(Image.Image, "save", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make(Static(data=built.root, out=tmp_path / "new", per_class=1, size=SIZE, workers=1))
    assert [p.name for p in tmp_path.iterdir()] == ["there"]
