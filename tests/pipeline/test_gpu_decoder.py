"""`--decode gpu` shows the batches of `--crops device`: through every reader, rank and resume, with damage named or
replaced. Without a GPU, libjpeg-turbo stands in for nvJPEG."""

import threading
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch

from viewstream.augment.recipes import evaluation, moco_v2, seed_patches
from viewstream.pipeline.choose import READERS, open_any_reader, open_loader, open_set
from viewstream.pipeline.damage import JpegCheck
from viewstream.pipeline.options import LoaderOptions
from viewstream.pipeline.plan.order import Plan
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError

from .dali.dali_loaders import assert_near, assert_same, indexed
from .dali.test_damage import spoilt
from .zoo import ODD, USUAL

gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")]


def shown(manifest, decode, reader="webdataset", views=None, plan=None, epoch=0, start=0, **options):
    plan = plan or Plan(len(manifest), 16, seed=5)
    crops = {} if decode == "gpu" else {"crops": "device"}
    with closing(
        open_loader(reader, manifest, plan, views or moco_v2(32), threads=2, decode=decode, **crops, **options)
    ) as loader:
        return list(loader.epoch(epoch, start))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("recipe", [moco_v2, seed_patches, evaluation])
def test_every_reader_shows_the_pixels_of_the_device_crops(built, stand_in, reader, recipe):
    assert_same(shown(built, "gpu", reader, recipe(32)), shown(built, "cpu", "folder", recipe(32)))
    assert stand_in.calls == [16] * 6


@pytest.mark.parametrize("rank", range(3))
def test_ranks_and_a_resumed_epoch_show_the_same(built, stand_in, rank):
    plan = Plan(len(built), 3 * 7, 3, rank, tail="exact")
    assert_same(
        shown(built, "gpu", plan=plan, views=evaluation(24)), shown(built, "cpu", plan=plan, views=evaluation(24))
    )
    plan = Plan(len(built), 12, 3, rank, seed=5)
    assert_same(shown(built, "gpu", plan=plan, epoch=2, start=3), shown(built, "cpu", plan=plan, epoch=2)[3:])


def test_rows_are_shown_outside_an_epoch_too(built, stand_in):
    one, two = (
        open_loader("webdataset", built, Plan(len(built), 16), moco_v2(32), threads=1, crops="device", decode=decode)
        for decode in ("gpu", "cpu")
    )
    with closing(one), closing(two):
        assert_same([one.batch(np.array([5, 9]), 1)], [two.batch(np.array([5, 9]), 1)])


def test_odd_jpegs_show_the_same_pixels_those_of_unusual_colors_by_the_host(image, stand_in, tmp_path):
    kinds = USUAL | {name: ODD[name] for name in ("grey", "rgb", "rotated", "mirrored")}
    jpegs = [make(image) for make in kinds.values()]
    manifest, plan = indexed(jpegs, tmp_path), Plan(len(jpegs), 5, tail="exact")
    assert_same(shown(manifest, "gpu", plan=plan), shown(manifest, "cpu", plan=plan))
    assert sum(stand_in.calls) == len(jpegs) - 1


def test_pixels_stored_in_a_beton_pass_through(pets, stand_in, tmp_path):
    options = BuildOptions(
        source=pets, out=tmp_path / "raw", split="val", format=("ffcv",), raw_fraction=0.5, workers=1
    )
    raw = build(options)
    assert_same(shown(raw, "gpu", "ffcv"), shown(raw, "cpu", "ffcv"))
    assert 0 < sum(stand_in.calls) < len(raw)


@pytest.mark.parametrize(
    "spoil", [lambda j: bytes(len(j)), lambda j: j[: len(j) // 3] + bytes(len(j) - len(j) // 3)], ids=["all", "tail"]
)
def test_a_damaged_sample_is_named_or_replaced_as_by_every_other_loader(built, stand_in, tmp_path, spoil, capsys):
    broken, tar = spoilt(built, tmp_path / "set", 17, spoil)
    with pytest.raises(UserError, match=rf"sample 17 .{broken.keys[17]}. is damaged .*{tar}.*--repair"):
        shown(broken, "gpu")
    assert_same(shown(broken, "gpu", skip=True), shown(broken, "cpu", skip=True))
    assert capsys.readouterr().err.count("skipped: sample 17") == 2


@pytest.mark.parametrize("end", [b"", b"\xff\xd9"], ids=["cut off", "with an end"])
def test_a_sample_that_was_stored_damaged_is_named_or_replaced_though_nvjpeg_refuses_its_whole_batch(
    built, stand_in, tmp_path, monkeypatch, end
):
    jpegs = [built.path(row).read_bytes() for row in range(len(built))]
    for row in (7, 8, 40):
        jpegs[row] = jpegs[row][: len(jpegs[row]) // 2] + end
    monkeypatch.setattr("viewstream.shards.care.headers.fault_of", lambda data: "")  # as older versions indexed it
    manifest = indexed(jpegs, tmp_path)
    with pytest.raises(UserError, match=r"sample 7 .007. is damaged .*it was so when the set was indexed"):
        shown(manifest, "gpu", plan=Plan(len(jpegs), 16, tail="exact"))
    assert_same(shown(manifest, "gpu", skip=True), shown(manifest, "cpu", skip=True))


def test_a_jpeg_that_was_stored_without_its_end_is_named_before_nvjpeg_fills_it_with_gray(built, tmp_path, monkeypatch):
    jpegs = [built.path(row).read_bytes() for row in range(8)]
    jpegs[7] = jpegs[7][: len(jpegs[7]) // 2]
    monkeypatch.setattr("viewstream.shards.care.headers.fault_of", lambda data: "")  # as older versions indexed it
    manifest = indexed(jpegs, tmp_path)
    check = JpegCheck(manifest, open_any_reader(manifest))
    assert [check(row, jpegs[row]) for row in range(7)] == ["YCbCr"] * 7
    with pytest.raises(UserError, match=r"sample 7 .* is damaged \(it is cut off, it has no end marker\)"):
        check(7, jpegs[7])


def test_a_changed_image_that_decodes_is_damaged_as_nvjpeg_would_not_notice(built, stand_in, tmp_path):
    broken, _ = spoilt(built, tmp_path / "set", 17, lambda j: j.replace(b"\x01\x01", b"\x02\x01", 1))
    with pytest.raises(
        UserError, match=r"sample 17 .* is damaged \(its bytes do not match the digest of the manifest\)"
    ):
        shown(broken, "gpu")


def test_an_image_of_another_size_than_in_the_manifest_is_named(built, stand_in):
    hw = built.hw.copy()
    hw[9, 0] += 1
    with pytest.raises(UserError, match=rf"sample 9 .* the manifest says \[{hw[9, 0]}"):
        shown(replace(built, hw=hw), "gpu")


def test_breaking_out_of_an_epoch_leaves_no_thread(built, stand_in):
    before = threading.active_count()
    loader = open_loader("webdataset", built, Plan(len(built), 8), moco_v2(32), threads=2, decode="gpu")
    for _ in loader.epoch(0):
        break
    assert len(list(loader.epoch(1))) == len(built) // 8
    loader.close()
    assert threading.active_count() == before


def test_the_time_of_nvjpeg_counts_as_decoding(built, stand_in):
    with closing(
        open_loader("webdataset", built, Plan(len(built), 16), moco_v2(32), threads=2, decode="gpu")
    ) as loader:
        list(loader.epoch(0))
        assert loader.times["samples"] == len(built)
        assert all(loader.times[stage] > 0 for stage in ("read", "decode", "wait"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "--decode gpu needs a GPU"),
        ({"crops": "host"}, "where --crops host cannot crop: leave out one of them"),
        ({"reader": "dali"}, "--loader dali decodes by itself.*leave out --decode gpu"),
    ],
    ids=["no GPU", "crops of the host", "DALI"],
)
def test_what_cannot_decode_on_a_gpu_is_refused(built, options, words):
    options = {"reader": "webdataset", **options}
    with pytest.raises(UserError, match=words):
        open_loader(options.pop("reader"), built, Plan(len(built), 16), moco_v2(32), decode="gpu", **options)


def test_class_folders_have_no_digests_and_are_refused(pets, stand_in):
    folders = open_set(str(pets))
    with pytest.raises(
        UserError, match=r"--decode gpu finds damage by digests: .* was not built.*or choose --decode cpu"
    ):
        open_loader("folder", folders, Plan(len(folders), 16), moco_v2(32), decode="gpu")


def test_a_gpu_that_decodes_also_crops(monkeypatch):
    monkeypatch.setattr("viewstream.pipeline.options.share_of_cores", lambda: 99)
    assert LoaderOptions(device="cuda", decode="gpu").crop_on_device


@pytest.mark.parametrize("name", [pytest.param("webdataset", marks=gpu), pytest.param("ffcv", marks=gpu)])
def test_a_gpu_that_decodes_shows_the_views_of_the_cpu(built, name):
    views = moco_v2(64)
    theirs = shown(built, "cpu", name, views)
    assert_near(
        shown(built, "gpu", name, views, device="cuda"), theirs, views, mean=2.5, percentile=20
    )  # repeated chroma: 1.5, 12
