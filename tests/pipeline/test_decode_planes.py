"""`--decode planes` shows almost the pixels of `--decode cpu`, the same through every reader, rank, thread and resume,
with damage named or replaced."""

import importlib.util
from contextlib import closing
from dataclasses import replace

import pytest

from viewstream.augment.recipes import evaluation, moco_v2, seed_patches, transfer
from viewstream.pipeline import turbojpeg
from viewstream.pipeline.choose import READERS, open_loader
from viewstream.pipeline.options import LoaderOptions
from viewstream.pipeline.plan.order import Plan
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.testing import check_loader

from .dali.dali_loaders import Held, assert_near, assert_same, indexed
from .dali.test_damage import spoilt
from .zoo import ODD, USUAL, saved

if not turbojpeg.has_turbojpeg():
    pytest.skip("no libturbojpeg", allow_module_level=True)
STREAMS = importlib.util.find_spec("webdataset")
ALL = [
    pytest.param(name, marks=pytest.mark.skipif(name == "webdataset-stream" and not STREAMS, reason="no webdataset"))
    for name in READERS
]


def shown(manifest, reader="webdataset", views=None, plan=None, epoch=0, start=0, decode="planes", **options):
    plan = plan or Plan(len(manifest), 16, seed=5)
    options = {"threads": 2, "decode": decode, **options}
    with closing(open_loader(reader, manifest, plan, views or moco_v2(32), **options)) as loader:
        return list(loader.epoch(epoch, start))


@pytest.mark.parametrize("reader", ALL)
@pytest.mark.parametrize("recipe", [moco_v2, seed_patches, evaluation])
def test_every_reader_shows_the_same_pixels_with_any_number_of_threads(built, reader, recipe):
    assert_same(shown(built, reader, recipe(32), threads=3), shown(built, "folder", recipe(32), threads=1))


@pytest.mark.parametrize("recipe", [moco_v2, seed_patches, evaluation])
def test_pixels_are_near_those_of_the_other_decoder_from_the_same_draws(built, recipe):
    views = recipe(48)
    ours, theirs = shown(built, views=views), shown(built, views=views, decode="cpu")
    assert_near(ours, theirs, views, mean=1.0, percentile=6)
    assert any(not a.views[0].equal(b.views[0]) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("rank", range(3))
def test_ranks_show_the_shares_of_one_rank(built, rank):
    for tail, views in (("drop", moco_v2(24)), ("exact", evaluation(24))):
        whole = shown(built, views=views, plan=Plan(len(built), 12, seed=5, tail=tail), epoch=2)
        ours = shown(built, views=views, plan=Plan(len(built), 12, 3, rank, seed=5, tail=tail), epoch=2)
        for one, all_of_it in zip(ours, whole, strict=True):
            at = [all_of_it.index.tolist().index(row) for row in one.index.tolist()]
            assert all(v.equal(w[at]) for v, w in zip(one.views, all_of_it.views, strict=True))


def test_the_loader_keeps_the_public_laws(built):
    check_loader(lambda plan: open_loader("webdataset", built, plan, moco_v2(32), threads=2, decode="planes"), built)


def test_a_resumed_epoch_shows_the_rest_of_it(built):
    assert_same(shown(built, epoch=2, start=3), shown(built, epoch=2)[3:])


def test_jpegs_without_halved_colors_show_the_pixels_of_the_other_decoder(image, tmp_path):
    kinds = {name: ODD[name] for name in ("grey", "rgb")}
    kinds |= {"444": lambda i: saved(i, subsampling=0), "422": lambda i: saved(i, subsampling=1)}
    jpegs = [make(image) for make in [*kinds.values(), *USUAL.values()]]
    manifest, plan = indexed(jpegs, tmp_path), Plan(len(jpegs), len(jpegs), tail="exact")
    ((ours,), (theirs,)) = (
        shown(manifest, views=moco_v2(64), plan=plan, decode=decode) for decode in ("planes", "cpu")
    )
    for row in range(len(jpegs)):
        at = ours.index.tolist().index(row)
        assert all(v[at].equal(w[at]) for v, w in zip(ours.views, theirs.views, strict=True)) == (row < len(kinds))


def test_bicubic_crops_show_the_pixels_of_the_other_decoder(built):
    assert_same(shown(built, views=transfer(32)), shown(built, views=transfer(32), decode="cpu"))


def test_pixels_stored_in_a_beton_pass_through(pets, tmp_path):
    options = BuildOptions(source=pets, out=tmp_path / "raw", split="val", format=("ffcv",), workers=1)
    raw = build(replace(options, raw_fraction=1.0))
    assert_same(shown(raw, "ffcv"), shown(raw, "ffcv", decode="cpu"))


@pytest.mark.parametrize(
    "spoil",
    [lambda j: bytes(len(j)), lambda j: j[: len(j) // 3] + bytes(len(j) - len(j) // 3)],
    ids=["all", "tail"],
)
def test_a_damaged_sample_is_named_or_replaced_as_by_the_other_decoder(built, tmp_path, spoil, capsys):
    broken, _ = spoilt(built, tmp_path / "set", 17, spoil)
    texts = []
    for decode in ("planes", "cpu"):
        with pytest.raises(UserError, match=rf"sample 17 .{broken.keys[17]}. is damaged .*--repair") as error:
            shown(broken, decode=decode)
        texts.append(str(error.value))
    assert texts[0] == texts[1]
    index = [
        [row for batch in shown(broken, decode=decode, skip=True) for row in batch.index.tolist()]
        for decode in ("planes", "cpu")
    ]
    assert index[0] == index[1]
    assert capsys.readouterr().err.count("skipped: sample 17") == 2


@pytest.mark.parametrize("kind", ["empty", "half", "no end", "other size"])
def test_a_sample_is_named_in_the_words_of_the_other_decoder(built, kind):
    jpegs, texts = [built.path(row).read_bytes() for row in range(len(built))], []
    spoil = {
        "empty": lambda j: b"",
        "half": lambda j: j[: len(j) // 2],
        "no end": lambda j: j[:-40],
        "other size": lambda j: jpegs[10],
    }
    jpegs[9] = spoil[kind](jpegs[9])
    for decode in ("planes", "cpu"):
        with pytest.raises(UserError, match=r"sample 9 \(") as error:
            shown(built, Held(jpegs), decode=decode)
        texts.append(str(error.value))
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("reader", "options", "words"),
    [
        ("webdataset", {"crops": "device"}, "--decode planes .*--crops device .*: leave out one of them"),
        ("dali", {}, "--loader dali decodes by itself.*leave out --decode planes"),
        ("memory", {}, "--loader memory decodes the set once.*leave out --decode planes"),
    ],
    ids=["crops of the device", "DALI", "memory"],
)
def test_what_cannot_crop_planes_is_refused(built, reader, options, words):
    with pytest.raises(UserError, match=words):
        shown(built, reader, **options)


def test_a_missing_library_is_named_when_the_loader_is_opened(built, monkeypatch):
    monkeypatch.setattr(turbojpeg, "has_turbojpeg", lambda: False)
    with pytest.raises(UserError, match=r"--decode planes finds no libturbojpeg: .* or choose --decode cpu"):
        open_loader("webdataset", built, Plan(len(built), 16), moco_v2(32), decode="planes")


def test_planes_are_cropped_by_the_host_whatever_the_gpu_and_its_cores(monkeypatch):
    monkeypatch.setattr("viewstream.pipeline.options.share_of_cores", lambda: 1)
    assert not LoaderOptions(device="cuda", decode="planes").crop_on_device


def test_every_stage_is_counted(built):
    with closing(
        open_loader("webdataset", built, Plan(len(built), 16), moco_v2(32), threads=2, decode="planes")
    ) as loader:
        list(loader.epoch(0))
        assert all(loader.times[stage] > 0 for stage in ("read", "decode", "cut", "wait"))
