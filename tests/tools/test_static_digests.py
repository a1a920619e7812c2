"""A static set is a set with a digest of each file: what is not as it was made is found, and never read unnoticed."""

import hashlib
import json
import random
import shutil
from pathlib import Path

import pytest
import torch

from viewstream.augment.recipes import views_of
from viewstream.pipeline.choose import open_loader, open_reader
from viewstream.pipeline.plan.order import Plan
from viewstream.pipeline.static.read import StaticSet
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.care.verify import sound, verify
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest
from viewstream.tools.make_static import Static, make

from ..flipping import flipped, flips
from .frozen_views import SIZE

V1 = Path(__file__).parents[1] / "compat" / "v1" / "static"


@pytest.fixture(scope="module")
def plain(built, tmp_path_factory):
    """The static set of `static`, as class folders alone."""
    out = tmp_path_factory.mktemp("plain") / "pets"
    return make(Static(data=built.root, out=out, per_class=3, size=SIZE, workers=1))


@pytest.fixture
def copied(plain, tmp_path):
    return Path(shutil.copytree(plain, tmp_path / "pets"))


def damaged(root):
    """The names of the files that are not as they were made."""
    return sorted(damage.file for damage in verify(sound(root), workers=1))


def test_each_file_has_its_digest_and_the_set_is_the_one_that_a_build_of_the_folders_makes(plain, static):
    manifest, built = Manifest.open(plain), Manifest.open(static)
    assert verify(manifest, 1) == verify(built, 1) == []
    assert manifest.info.formats == ("folder",)
    assert built.info.formats == ("folder", "webdataset")
    assert manifest.identity == built.identity
    assert manifest.keys == built.keys
    for row, digest in enumerate(manifest.strings("sha256")):
        assert digest == hashlib.sha256(manifest.path(row).read_bytes()).digest()
    assert len(manifest) == len([*plain.glob("*/*.jpeg")]) == 4 * 3 * 3


def test_a_built_set_without_class_folders_has_digests_too(built, tmp_path):
    options = Static(data=built.root, out=tmp_path / "pets", per_class=1, size=SIZE, format=("ffcv",), workers=1)
    manifest = Manifest.open(make(options))
    assert verify(manifest, 1) == []
    assert not manifest.info.static


def test_every_flipped_bit_of_a_static_set_is_found_and_the_file_named(copied):
    files, chosen = sorted(copied.glob("*/*.jpeg")), random.Random(0)
    for seed in range(75):
        file = chosen.choice(files)
        for bit in flips(file, 1, seed):
            assert damaged(copied) == [str(file.relative_to(copied))], bit
    assert damaged(copied) == []


def test_the_record_of_what_decided_the_pixels_is_compared_too_and_mended(copied, verified):
    file = copied / "static.json"
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'"size": 48', b'"size": 49'))
    assert damaged(copied) == ["static.json"]
    assert verified(copied, "--repair").code == 0
    assert file.read_bytes() == whole


def test_files_that_are_missing_added_or_renamed_are_named(copied, verified):
    first, second, third, *_ = sorted(copied.glob("cat/*-1.jpeg"))
    first.unlink()
    second.rename(copied / "dog" / second.name)
    shutil.copy(third, copied / "cat" / "new-1.jpg")
    done = verified(copied)
    assert done.code == 2
    for name in (first.name, second.name):
        assert f"cat/{name}: is absent" in done.out
    for name in (f"dog/{second.name}", "cat/new-1.jpg"):
        assert f"{name}: is not in the manifest" in done.out
    assert "make the set again" in done.error
    assert "remove it" in done.error
    assert len(done.out.splitlines()) == 4


def test_what_was_added_is_not_read(copied, plain):
    shutil.copytree(copied / "cat", copied / "bee")
    shutil.copy(copied / "cat" / "cat_0-1.jpeg", copied / "cat" / "cat_0-7.jpeg")
    sets = [StaticSet(root) for root in (copied, plain)]
    for one in sets:
        one.close()
    names = [[[file.name for file in item.files] for item in one.items] for one in sets]
    assert names[0] == names[1]
    assert sets[0].classes == sets[1].classes


def test_a_read_with_check_finds_other_pixels_that_a_read_without_it_takes(copied):
    loader = StaticSet(copied, check="digest", batch=20)
    (batch,) = loader.epoch()
    assert len(batch.index) == 12
    file = loader.items[5].files[2]
    whole, found = file.read_bytes(), []
    for bit in range(8 * 700, 8 * len(whole) - 160, 96):
        file.write_bytes(flipped(whole, bit))
        with pytest.raises(UserError, match=f"{file.name} is damaged .its bytes are not those that were written"):
            next(iter(loader.epoch()))
        unchecked = StaticSet(copied, batch=20)
        try:
            found.append(torch.equal(next(iter(unchecked.epoch())).views[2], batch.views[2]))
        except UserError:
            found.append(True)
        unchecked.close()
        if not found[-1]:
            break
    loader.close()
    assert not found[-1], "no flip was read as other pixels"


def test_a_set_without_digests_is_read_but_cannot_be_checked():
    loader = StaticSet(V1)
    loader.close()
    with pytest.raises(UserError, match="has no digests to check: make the set again"):
        StaticSet(V1, check="digest")


def test_a_set_without_digests_is_decoded_and_says_what_to_do(verified, tmp_path):
    old = Path(shutil.copytree(V1, tmp_path / "old"))
    done = verified(old)
    assert (done.code, done.error) == (0, "")
    assert "is a static set without digests" in done.out
    assert "its 33 JPEGs decode" in done.out
    assert "make it again" in done.out
    cut = old / "bee" / "bee0-2.jpeg"
    cut.write_bytes(cut.read_bytes()[:-200])
    done = verified(old)
    assert done.code == 2
    assert "bee0-2.jpeg: Truncated File Read" in done.out
    assert "make the set again" in done.out


def test_class_folders_beside_shards_of_an_earlier_version_are_decoded(static, verified, tmp_path):
    old = Path(shutil.copytree(static, tmp_path / "old"))
    page = json.loads((old / "dataset.json").read_text())
    page["formats"].remove("folder")
    del page["encoding"]["static"]
    (old / "dataset.json").write_text(json.dumps(page))
    assert not Manifest.open(old).info.static
    done = verified(old)
    assert (done.code, done.error) == (0, "")
    assert "is as it was built: 36 samples, webdataset" in done.out
    assert "is a static set without digests" in done.out


def test_damaged_files_are_mended_from_the_tars_or_from_a_copy(static, plain, verified, tmp_path):
    for made, more in ((static, ()), (plain, ("--source", plain))):
        root = Path(shutil.copytree(made, tmp_path / made.parent.name))
        file = root / "dog" / "dog_0-1.jpeg"
        whole = file.read_bytes()
        file.write_bytes(flipped(whole, 5000))
        (root / "cat" / "cat_0-0.jpeg").unlink()
        done = verified(root, "--repair", *more)
        assert done.code == 0, done.error
        assert file.read_bytes() == whole
        assert damaged(root) == []


def test_loaders_of_sets_read_a_static_set(plain):
    manifest = Manifest.open(plain)
    with open_reader("folder", manifest) as reader:
        for row, key in enumerate(manifest.keys):
            assert reader.read(row) == (plain / f"{key}.jpeg").read_bytes()
    views = views_of("evaluation", SIZE)
    loader = open_loader("folder", manifest, Plan(len(manifest), 6, tail="exact"), views, threads=1)
    assert sorted(row for batch in loader.epoch(0) for row in batch.index.tolist()) == [*range(36)]
    loader.close()


def test_a_set_is_made_of_the_class_folders_as_before(plain, tmp_path):
    made = build(BuildOptions(source=plain, out=tmp_path / "set", format=("webdataset",), keep=True, workers=1))
    assert made.identity == Manifest.open(plain).identity


def test_two_images_with_one_name_in_a_class_are_refused_before_one_overwrites_the_other(pets, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / "source" / "cat" / folder).mkdir(parents=True)
        shutil.copy(pets / "train" / "cat" / "cat_0.JPEG", tmp_path / "source" / "cat" / folder / "x.JPEG")
    shutil.copytree(pets / "train" / "dog", tmp_path / "source" / "dog")
    made = build(BuildOptions(source=tmp_path / "source", out=tmp_path / "set", format=("webdataset",), workers=1))
    with pytest.raises(UserError, match="has two images cat/x, whose files would be one"):
        make(Static(data=made.root, out=tmp_path / "static", per_class=3, size=SIZE, workers=1))
