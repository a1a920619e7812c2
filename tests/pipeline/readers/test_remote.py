"""Sets at a URL: the same bytes as those of the local set, fetched once."""

from concurrent.futures import ThreadPoolExecutor

import fsspec
import numpy as np
import pytest

from viewstream.pipeline.readers.remote import open_remote
from viewstream.pipeline.readers.remote_tar import RemoteTarReader
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.columns import FILE
from viewstream.shards.errors import UserError
from viewstream.shards.subsets.classsets import only

from .fetched import QUICK, assert_same, opened


def test_a_remote_set_reads_the_same_bytes_and_fetches_each_tar_once(server, many, tmp_path):
    reader = opened(server, tmp_path)
    assert reader.manifest.info == many.info
    assert reader.locate(5) == f"{server.url}/{many.tars()[many.shard[5]].name} at byte {many.offset[5]}"
    with ThreadPoolExecutor(8) as pool:
        pool.map(reader.read, range(len(many)))
    assert_same(reader, many)
    reader.close()
    again = opened(server, tmp_path)
    assert_same(again, many)
    again.close()
    tars = [name for name in server.asked if name.endswith(".tar")]
    assert sorted(tars) == sorted(tar.name for tar in many.tars())
    assert server.asked.count("manifest.parquet") == 1


def test_the_columns_of_a_remote_set_are_made_in_the_cache_and_its_table_is_fetched_once(server, many, tmp_path):
    first = open_remote(server.url, tmp_path)
    assert first.mapped
    assert FILE not in server.asked
    assert (first.root / FILE).read_bytes() == (many.root / FILE).read_bytes()
    (first.root / FILE).unlink()  # as in the cache of a version without columns
    again = open_remote(server.url, tmp_path)
    assert again.mapped
    np.testing.assert_array_equal(again.offset, many.offset)
    (first.root / FILE).write_bytes(b"torn")
    assert open_remote(server.url, tmp_path).identity == many.identity
    assert server.asked.count("manifest.parquet") == 1


def test_any_file_system_of_fsspec_works(many, tmp_path):
    store = fsspec.filesystem("memory")
    store.put(str(many.root), "/many", recursive=True)
    try:
        reader = RemoteTarReader(open_remote("memory://many", tmp_path))
        reader.prefetch(iter([np.arange(len(many))]))
        assert_same(reader, many)
        reader.close()
    finally:
        store.rm("/many", recursive=True)


def test_a_local_path_and_a_local_set_are_refused(many, tmp_path):
    with pytest.raises(UserError, match="is no URL"):
        open_remote(str(many.root), tmp_path)
    with pytest.raises(UserError, match="is a local set"):
        RemoteTarReader(many)


def test_some_classes_of_a_remote_set_are_read_from_its_whole_tars(server, many, tmp_path):
    (tmp_path / "cold.txt").write_text("/fox\n")
    part, local = (only(data, str(tmp_path / "cold.txt")) for data in (open_remote(server.url, tmp_path / "a"), many))
    reader = RemoteTarReader(part, retry=QUICK)
    assert_same(reader, local)
    reader.close()


def test_a_set_that_was_built_again_replaces_the_cached_one(pets, tmp_path):
    def make(quality):
        out = tmp_path / f"q{quality}"
        return build(BuildOptions(source=pets, out=out, format=("webdataset",), quality=quality, workers=1))

    store = fsspec.filesystem("memory")
    for made in (make(90), make(60)):
        store.put(str(made.root), "/again", recursive=True)
        reader = RemoteTarReader(open_remote("memory://again", tmp_path / "cache"))
        assert_same(reader, made)
        reader.close()
        store.rm("/again", recursive=True)
