"""The DALI loader shows `Stream`'s batches, within the renderer's bounds, and leaves nothing behind."""

import importlib.util
import io
import os
import shutil
import sys
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from viewstream.augment.recipes import evaluation, moco_v2, seed_patches, supervised
from viewstream.augment.spec import IMAGENET_STD, Normalize, size_of
from viewstream.pipeline.choose import open_door
from viewstream.pipeline.dali import DaliStream, hints
from viewstream.pipeline.order import Plan
from viewstream.pipeline.stream import Stream
from viewstream.shards.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.index import index
from viewstream.shards.manifest import Manifest

LEVELS = 255 * torch.tensor(IMAGENET_STD).view(3, 1, 1)  # of 8 bits in a normalised view
WITHOUT = importlib.util.find_spec("nvidia") is None or importlib.util.find_spec("nvidia.dali") is None
dali = pytest.mark.skipif(WITHOUT, reason="DALI is not installed: the extra 'dali' brings it")
ON = [
    pytest.param("cpu", marks=dali),
    pytest.param(
        "cuda", marks=[dali, pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")]
    ),
]


class Held:
    """A door to samples in memory."""

    def __init__(self, samples):
        self.samples, self.expected, self.closed = samples, [], False

    def read(self, row):
        return self.samples[row]

    def place(self, row):
        return f"place {row} in memory"

    def expect(self, rows):
        self.expected.append(rows)

    def close(self):
        self.closed = True


@pytest.fixture
def stream(built):
    """(views, loader, ...) -> an open loader on the training set, closed in the end."""
    opened = []

    def make(views, kind=DaliStream, plan=None, manifest=built, door="webdataset", **more):
        door = open_door(door, manifest) if isinstance(door, str) else door
        plan = plan or Plan(len(manifest), 16, seed=5)
        opened.append(kind(manifest, plan, views, door, **{"threads": 2, **more}))
        return opened[-1]

    yield make
    for loader in opened:
        loader.close()


def assert_near(ours, theirs, views, mean=1.5, percentile=8):
    """The same samples, pixels within bounds in 8-bit levels."""
    ours, theirs = list(ours), list(theirs)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.index.cpu(), other.index)
        assert torch.equal(one.target.cpu(), other.target)
    for v, view in enumerate(views):
        assert all(batch.views[v].is_contiguous(memory_format=torch.channels_last) for batch in ours)
        a, b = (torch.cat([batch.views[v].cpu() for batch in batches]) for batches in (ours, theirs))
        assert a.shape == b.shape == (len(a), 3, size_of(view), size_of(view))
        gap = (a - b).abs() * LEVELS
        assert gap.mean() <= mean
        assert np.percentile(gap.numpy(), 99) <= percentile


def assert_same(ours, theirs):
    ours, theirs = list(ours), list(theirs)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.index, other.index)
        assert all(torch.equal(v, w) for v, w in zip(one.views, other.views, strict=True))


@pytest.mark.parametrize("on", ON)
@pytest.mark.parametrize("recipe", [moco_v2, seed_patches, evaluation])
def test_dali_shows_the_pixels_of_every_other_loader(stream, recipe, on):
    views = recipe(64)
    assert_near(stream(views, device=on).epoch(1), stream(views, Stream).epoch(1), views)


@pytest.mark.parametrize("on", ON)
@pytest.mark.parametrize("door", ["folder", pytest.param("ffcv", marks=pytest.mark.full)])
def test_pixels_do_not_depend_on_the_door_or_the_number_of_threads(stream, door, on):
    if door == "ffcv":
        pytest.importorskip("ffcv", reason="ffcv is not installed: that door is shut")
    views = moco_v2(32)
    other = stream(views, device=on, door=door, threads=3)
    assert_same(other.epoch(0), stream(views, device=on, threads=1).epoch(0))


@pytest.mark.parametrize("on", ON)
def test_an_epoch_from_a_start_is_the_tail_of_the_whole_epoch(stream, on):
    loader = stream(moco_v2(32), device=on)
    assert_same(loader.epoch(2, start=4), list(loader.epoch(2))[4:])
    assert list(loader.epoch(2, start=len(loader))) == []


@pytest.mark.parametrize("on", ON)
def test_an_evaluation_shows_every_picture_once_though_a_rank_may_have_none_in_a_batch(stream, built, on):
    views, seen = evaluation(32), []
    for rank in range(3):
        plan = Plan(len(built), 3 * 7, 3, rank, tail="exact")
        batches = list(stream(views, device=on, plan=plan).epoch(0))
        assert_near(batches, stream(views, Stream, plan=plan).epoch(0), views)
        assert len(batches) == len(plan)
        seen += [i for batch in batches for i in batch.index.tolist()]
    assert len(batches[-1].index) == 0
    assert batches[-1].views[0].shape == (0, 3, 32, 32)
    assert sorted(seen) == list(range(len(built)))


@pytest.mark.parametrize("on", ON)
def test_views_come_in_the_dtype_that_was_asked_for(stream, on):
    views = (*evaluation(32), *moco_v2(32))  # finished by DALI, finished by us
    half, whole = (next(iter(stream(views, device=on, dtype=d).epoch(0))) for d in (torch.bfloat16, torch.float32))
    for a, b in zip(half.views, whole.views, strict=True):
        assert torch.equal(a, b.bfloat16())
        assert a.is_contiguous(memory_format=torch.channels_last)


def jpeg(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


def indexed(jpegs, folder):
    """A set of these JPEGs as somebody else's tar."""
    with tarfile.open(folder / "theirs.tar", "w") as tar:
        for n, data in enumerate(jpegs):
            member = tarfile.TarInfo(f"{n:03d}.jpg")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return index(folder, workers=1)


@pytest.mark.parametrize("on", ON)
def test_odd_pictures_are_the_same_pixels_too(stream, tmp_path, on):
    rng = np.random.default_rng(3)
    ramp = np.add.outer(np.arange(300), np.arange(640)) % 256

    def some(height, width):
        return np.stack([np.roll(ramp, k, 1)[:height, :width] for k in rng.integers(0, 200, 3)], 2).astype(np.uint8)

    pictures = [some(*size) for size in ((1, 1), (3, 5), (4, 600), (299, 7), (64, 64), (300, 640))]
    jpegs = [jpeg(x, quality=95) for x in pictures]
    jpegs += [jpeg(pictures[5][..., 0]), jpeg(pictures[5], progressive=True), jpeg(pictures[4], subsampling=0)]
    manifest, plan = indexed(jpegs, tmp_path), Plan(len(jpegs), 4, tail="exact")
    for views in (supervised(48), evaluation(48)):
        ours = stream(views, plan=plan, manifest=manifest, device=on)
        assert_near(ours.epoch(0), stream(views, Stream, plan, manifest).epoch(0), views)


@dali
def test_the_door_learns_once_an_epoch_which_rows_come(stream, built):
    with_rows = Held([built.path(row).read_bytes() for row in range(len(built))])
    plan = Plan(len(built), 16, world=2, rank=1, seed=5)
    loader = stream(evaluation(16), plan=plan, door=with_rows)
    for _ in loader.epoch(0):
        break
    shown = torch.cat([batch.index for batch in loader.epoch(1, start=2)])
    first, second = with_rows.expected
    np.testing.assert_array_equal(first, np.concatenate(list(plan.ids(0))))
    np.testing.assert_array_equal(second, shown)


def spoilt(built, folder, row, spoil):
    """A copy of the set whose sample `row` was spoilt, and the name of the tar that it lies in."""
    shutil.copytree(built.root, folder)
    broken = Manifest.open(folder)
    tar, jpeg = broken.tars()[broken.shard[row]], built.path(row).read_bytes()
    data = bytearray(tar.read_bytes())
    at = data.index(jpeg)
    data[at : at + len(jpeg)] = spoil(jpeg)
    tar.write_bytes(data)
    return broken, tar.name


@pytest.mark.parametrize("on", ON)
@pytest.mark.parametrize(
    "spoil", [lambda j: bytes(len(j)), lambda j: j[: len(j) // 3] + bytes(len(j) - len(j) // 3)], ids=["all", "tail"]
)
def test_a_damaged_sample_is_named_with_its_shard_and_the_remedy(stream, built, tmp_path, spoil, on):
    broken, tar = spoilt(built, tmp_path / "set", 17, spoil)
    loader = stream(moco_v2(32), manifest=broken, device=on)
    for _ in range(2):  # and again in the next epoch
        with pytest.raises(UserError, match=rf"sample 17 .{broken.keys[17]}. is damaged .*{tar}.*--repair"):
            list(loader.epoch(0))


@dali
def test_a_loader_goes_on_behind_a_damaged_sample(stream, built):
    jpegs = [built.path(row).read_bytes() for row in range(len(built))]
    plan, good = Plan(len(built), 16, tail="exact"), list(jpegs)
    jpegs[20] = jpegs[20][: len(jpegs[20]) // 2]
    jpegs[36] = jpegs[36][: len(jpegs[36]) // 2]
    loader = stream(supervised(32), plan=plan, door=Held(jpegs))
    for row in (20, 36):
        with pytest.raises(UserError, match=f"sample {row} "):
            list(loader.epoch(0, start=row // 16))
    whole = stream(supervised(32), plan=plan, door=Held(good))
    assert_same(loader.epoch(0, start=3), whole.epoch(0, start=3))


@pytest.fixture
def cut_short(built, tmp_path):
    """A set whose digests are right and three of whose JPEGs end too soon."""
    jpegs = [built.path(row).read_bytes() for row in range(len(built))]
    for row in (7, 8, 40):
        jpegs[row] = jpegs[row][: len(jpegs[row]) // 2]
    return indexed(jpegs, tmp_path)


@pytest.mark.parametrize("on", ON)
def test_a_sample_that_was_stored_damaged_is_named(stream, cut_short, on):
    with pytest.raises(UserError, match=r"sample 7 .007. is damaged .*theirs.tar.*--repair"):
        list(stream(supervised(32), plan=Plan(96, 16, tail="exact"), manifest=cut_short, device=on).epoch(0))


@pytest.mark.parametrize("on", ON)
@pytest.mark.parametrize("stored", [True, False])
def test_damaged_samples_get_the_stand_ins_of_every_other_loader(
    stream, built, cut_short, tmp_path, stored, on, capsys
):
    manifest = cut_short if stored else spoilt(built, tmp_path / "copy", 17, lambda j: bytes(len(j)))[0]
    views = supervised(32)
    ours, theirs = (stream(views, kind, manifest=manifest, skip=True) for kind in (DaliStream, Stream))
    for epoch in range(2):
        assert_near(ours.epoch(epoch), theirs.epoch(epoch), views)
    assert sorted(ours.skipped) == sorted(theirs.skipped) == ([7, 8, 40] if stored else [17])
    assert capsys.readouterr().err.count("skipped: sample") == 2 * len(ours.skipped)
    exact = stream(views, plan=Plan(96, 16, tail="exact"), manifest=manifest, device=on, skip=True)
    with pytest.raises(UserError, match="is damaged"):
        list(exact.epoch(0))


@dali
@pytest.mark.parametrize("change", [-1, 1])
def test_a_picture_of_another_size_than_the_manifest_says_is_named(stream, built, change):
    height = built.height.copy()
    height[9] += change
    with pytest.raises(UserError, match=rf"sample 9 .{built.keys[9]}. .*the manifest says \[{height[9]}"):
        list(stream(moco_v2(32), manifest=replace(built, height=height)).epoch(0))


@dali
def test_what_a_door_cannot_read_it_says_itself(stream, built, tmp_path):
    shutil.copytree(built.root, tmp_path / "set")
    broken = Manifest.open(tmp_path / "set")
    os.truncate(broken.tars()[0], broken.tars()[0].stat().st_size // 2)
    with pytest.raises(UserError, match="the file is truncated"):
        list(stream(evaluation(16), manifest=broken).epoch(0))


@dali
def test_raw_pixels_are_refused_when_they_are_met(stream, built):
    held = Held([built.path(row).read_bytes() for row in range(len(built))])
    held.samples[3] = np.zeros((*built.hw[3], 3), np.uint8)
    with pytest.raises(UserError, match=rf"sample 3 .{built.keys[3]}. is stored as raw pixels, DALI decodes JPEGs"):
        list(stream(evaluation(16), door=held).epoch(0))


@dali
@pytest.mark.full
def test_a_beton_of_raw_pixels_is_refused_when_the_loader_is_made(stream, pets, tmp_path):
    pytest.importorskip("ffcv", reason="ffcv is not installed: that door is shut")
    options = BuildOptions(source=pets, out=tmp_path / "raw", split="val", format=("ffcv",), raw_fraction=1, workers=1)
    raw = build(options)
    with pytest.raises(UserError, match=r"sample 0 .* raw pixels, .*--raw-fraction"):
        stream(evaluation(16), manifest=raw, door="ffcv")


@dali
def test_two_epochs_at_once_do_not_mix(stream):
    loader, views = stream(evaluation(32)), evaluation(32)
    one, two = zip(*zip(loader.epoch(0), loader.epoch(1), strict=True), strict=True)
    alone = stream(views, Stream)
    assert_near(one, alone.epoch(0), views)
    assert_near(two, alone.epoch(1), views)


def usage():
    """Threads and open files of this process."""
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))


@dali
def test_breaking_out_of_an_epoch_leaves_no_thread_file_or_pipeline_behind(built):
    def some(epochs):
        loader = DaliStream(built, Plan(len(built), 8), moco_v2(32), open_door("webdataset", built), threads=2)
        for epoch in range(epochs):
            for _ in loader.epoch(epoch):
                break
        shown = len(list(loader.epoch(9)))  # and goes on working
        loader.close()
        return shown

    assert some(1) == len(built) // 8  # what a first use starts for good: the host renderer's threads
    before = usage()
    assert some(3) == len(built) // 8
    assert usage() == before


@dali
@pytest.mark.full
def test_many_epochs_need_no_more_memory_threads_or_files_than_a_few(stream):
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    loader, seen = stream(seed_patches(96)), []
    for epoch in range(14):
        for _ in loader.epoch(epoch):
            pass
        seen.append((resident(), *usage()))
    assert {counts for _, *counts in map(tuple, seen[4:]) for counts in [tuple(counts)]} == {seen[4][1:]}
    assert max(memory for memory, *_ in seen[9:]) < max(memory for memory, *_ in seen[4:9]) + 8  # MiB


@dali
def test_impossible_views_and_plans_are_refused_when_the_loader_is_made(stream, built):
    with pytest.raises(UserError, match="must begin"):
        stream(((Normalize(),),))
    with pytest.raises(UserError, match=f"the plan orders {len(built) + 1} samples"):
        stream(evaluation(16), plan=Plan(len(built) + 1, 8))


def test_hints_follow_the_largest_picture(built):
    largest = built.hw.astype(np.int64).prod(axis=1).max()
    for name, at_least in (("device_memory_padding", 6 * largest), ("host_memory_padding", 6 * largest)):
        assert at_least <= hints(built)[name] <= 1.6 * at_least + built.bytes.max()
    big = replace(built, height=np.full(len(built), 65_500, np.int32), width=np.full(len(built), 65_500, np.int32))
    assert set(hints(big).values()) == {2**31 - 1}


def test_without_dali_the_extra_is_named(built, monkeypatch):
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(UserError, match=r"viewstream\[dali\]"):
        DaliStream(built, Plan(len(built), 8), evaluation(16), open_door("webdataset", built))
