"""Unfinished builds whose options, source or shards have changed since: nothing is mixed."""

import shutil

import numpy as np
import pytest

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.keyed import keys
from viewstream.shards.manifest import uid_of

from ...flipping import flips


def test_shards_of_other_options_or_another_source_are_never_mixed(tmp_path, grow, digests, jpeg, capsys):
    tree = grow(tmp_path / "pets", {f"pet{n}": 60 for n in range(4)}, side=100)
    late = tree / "train" / "pet3" / "pet3_59.JPEG"
    sound = late.read_bytes()
    late.write_bytes(b"damaged")
    options = BuildOptions(source=str(tree), out=tmp_path / "out", shard_size="100KB", workers=1)
    with pytest.raises(UserError, match=r"pet3_59.JPEG is damaged.*shards finished, the same command continues"):
        build(options)
    made = sorted(p.name for p in (tmp_path / "out").iterdir())
    with pytest.raises(UserError, match=r"unfinished build with other options \(quality was 90, is 80\)"):
        build(BuildOptions(**{**vars(options), "quality": 80}))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == made
    late.write_bytes(sound)  # another size: later shards hold other images
    early = tree / "train" / "pet0" / "pet0_0.JPEG"
    early.write_bytes(jpeg(9, 300, 300))
    build(options)
    assert "the source, a shard or its record has changed" in capsys.readouterr().err
    whole = BuildOptions(**{**vars(options), "out": tmp_path / "whole"})
    assert digests(tmp_path / "out") == digests(build(whole).root)


def test_records_after_a_changed_shard_never_come_back(tmp_path, grow, digests, jpeg):
    """Interrupted twice, and the source changed in between: shards after the change are made again."""
    tree = grow(tmp_path / "pets", {f"pet{n}": 60 for n in range(4)}, side=100)
    options = BuildOptions(source=str(tree), out=tmp_path / "out", shard_size="100KB", workers=1)
    paths = build(BuildOptions(**{**vars(options), "out": tmp_path / "order"})).strings("source")
    first, late = (tree / "train" / paths[row] for row in (0, -1))
    sound = late.read_bytes()
    late.write_bytes(b"damaged".ljust(len(sound)))
    with pytest.raises(UserError, match="shards finished"):
        build(options)
    size = first.stat().st_size
    again = jpeg(77, 90, 90)
    first.write_bytes(again + bytes(abs(size - len(again)) % 7 + 1))  # another size, but the same images per shard
    second = tree / "train" / paths[len(paths) // 3]
    kept = second.read_bytes()
    second.write_bytes(b"damaged".ljust(len(kept)))
    with pytest.raises(UserError, match="is damaged"):
        build(options)
    second.write_bytes(kept)
    late.write_bytes(sound)
    build(options)
    assert digests(tmp_path / "out") == digests(build(BuildOptions(**{**vars(options), "out": tmp_path / "w"})).root)


def test_a_new_image_in_the_source_moves_the_beton_and_is_noticed(tmp_path, grow, digests, jpeg):
    tree = grow(tmp_path / "pets", {f"pet{n}": 60 for n in range(4)}, side=100)
    options = BuildOptions(source=str(tree), out=tmp_path / "out", shard_size="100KB", workers=1)
    order = build(BuildOptions(**{**vars(options), "out": tmp_path / "order"}))
    late = tree / "train" / order.strings("source")[-1]
    sound = late.read_bytes()
    late.write_bytes(b"damaged".ljust(len(sound)))
    with pytest.raises(UserError, match="shards finished"):
        build(options)
    late.write_bytes(sound)
    names = [f"pet3/more_{n}" for n in range(99)]
    places = keys(np.array([uid_of(name) for name in names], np.uint64), 0, "storage")
    last = names[int(places.argmax())]  # stored after every finished shard
    (tree / "train" / f"{last}.JPEG").write_bytes(jpeg(1))
    build(options)
    assert digests(tmp_path / "out") == digests(build(BuildOptions(**{**vars(options), "out": tmp_path / "w"})).root)


@pytest.mark.parametrize("tries", [4, pytest.param(60, marks=pytest.mark.full)])
def test_a_build_that_goes_on_after_a_flipped_record_ends_byte_identical(tries, tmp_path, grow, digests):
    tree = grow(tmp_path / "pets", {f"pet{n}": 30 for n in range(4)}, side=100)
    options = BuildOptions(source=str(tree), out=tmp_path / "begun", shard_size="100KB", workers=1)
    whole = build(BuildOptions(**{**vars(options), "out": tmp_path / "whole"}))
    late = tree / "train" / whole.strings("source")[-1]
    sound = late.read_bytes()
    late.write_bytes(b"damaged".ljust(len(sound)))
    with pytest.raises(UserError, match="shards finished"):
        build(options)
    late.write_bytes(sound)
    for record in sorted((tmp_path / "begun" / "building").glob("*.parquet"))[:2]:
        for bit in flips(record, tries // 2):
            out = shutil.copytree(tmp_path / "begun", tmp_path / f"{record.stem}-{bit}")
            build(BuildOptions(**{**vars(options), "out": out}))
            assert digests(out) == digests(whole.root), f"bit {bit} of {record.name}"
            shutil.rmtree(out)


def test_a_finished_shard_that_was_removed_is_made_again(tmp_path, grow, digests):
    tree = grow(tmp_path / "pets", {f"pet{n}": 60 for n in range(4)}, side=100)
    options = BuildOptions(source=str(tree), out=tmp_path / "out", shard_size="100KB", workers=1)
    whole = build(BuildOptions(**{**vars(options), "out": tmp_path / "whole"}))
    late = tree / "train" / whole.strings("source")[-1]
    sound = late.read_bytes()
    late.write_bytes(b"damaged".ljust(len(sound)))
    with pytest.raises(UserError, match="shards finished"):
        build(options)
    late.write_bytes(sound)
    sorted((tmp_path / "out").glob("*.tar"))[0].unlink()
    build(options)
    assert digests(tmp_path / "out") == digests(whole.root)
