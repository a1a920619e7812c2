"""The cache of remote sets is compared with the digests of their builds, and what is damaged there is fetched again."""

import shutil

import numpy as np

from viewstream.pipeline.readers.cached import sets_in, verify_cached
from viewstream.shards.columns import FILE

from ...flipping import flipped
from .fetched import assert_same, opened


def test_damaged_tars_and_columns_of_a_cache_are_named_and_fetched_again(server, many, tmp_path):
    reader = opened(server, tmp_path)
    reader.read(int(np.flatnonzero(many.shard == 3)[0]))
    assert_same(reader, many)
    reader.close()
    (root,) = sets_in(tmp_path)
    assert sets_in(root) == [root]
    assert verify_cached(root) == ([], len(many.tars()))
    tar = tmp_path / "tars" / reader.names[3]
    for path in (tar, root / FILE):
        whole = path.read_bytes()
        path.write_bytes(flipped(whole, 8 * 5000))
        (line,), _ = verify_cached(root)
        assert str(path) in line
        assert "remove it, the next start brings it again" in line
        path.unlink()
        assert verify_cached(root)[0] == []
        again = opened(server, tmp_path)
        assert_same(again, many)
        again.close()
        assert path.read_bytes() == whole


def test_a_damaged_table_of_a_cache_is_named(server, tmp_path):
    reader = opened(server, tmp_path)
    reader.close()
    (root,) = sets_in(tmp_path)
    table = root / "manifest.parquet"
    table.write_bytes(flipped(table.read_bytes(), 8 * 2000))
    (line,), _ = verify_cached(root)
    assert "manifest.parquet is not as it was built" in line
    assert f"remove {root}: the next start fetches it again" in line
    shutil.rmtree(root)
    opened(server, tmp_path).close()
    assert verify_cached(root) == ([], 0)
