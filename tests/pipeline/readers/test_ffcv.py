"""The ffcv reader finds what ffcv's own reader finds, through the page cache and through its own cache."""

import importlib.util
import shutil
import threading
import time

import numpy as np
import pytest

from viewstream.pipeline.readers import ffcv
from viewstream.pipeline.readers.row_prefetch import SWEEP, RowPrefetcher, free_memory
from viewstream.shards.formats.beton import Layout


@pytest.mark.full
@pytest.mark.skipif(importlib.util.find_spec("ffcv") is None, reason="ffcv is not installed: nothing to compare with")
def test_the_layout_equals_that_of_ffcvs_reader(built):
    from ffcv.reader import Reader

    theirs, ours = Reader(str(built.beton_path())), Layout.of(built.beton_path())
    image = theirs.metadata[f"f{theirs.field_names.index('image')}"]
    for name in ("mode", "height", "width"):
        np.testing.assert_array_equal(image[name], getattr(ours, name))
    np.testing.assert_array_equal(image["data_ptr"], ours.where)
    table = {int(row["ptr"]): int(row["size"]) for row in theirs.alloc_table}
    assert [table[int(at)] for at in ours.where] == ours.size.tolist()


def test_a_file_that_fits_uses_the_page_cache_and_a_larger_one_is_read_ahead(built, monkeypatch, capsys):
    rows = np.random.default_rng(0).permutation(len(built))
    reader = ffcv.CachedBetonReader(built)
    assert "page cache (" in capsys.readouterr().err
    right = [reader.read(int(row)) for row in rows]
    reader.close()
    monkeypatch.setattr(ffcv, "free_memory", lambda: 200_000)
    small = ffcv.CachedBetonReader(built)
    assert "process cache of" in capsys.readouterr().err
    for _ in range(3):
        small.prefetch(iter([rows]))
        assert [small.read(int(row)) for row in rows] == right
    small.prefetch(iter([rows]))
    small.close()
    assert not any(thread.name == "viewstream-ahead" for thread in threading.enumerate())


def test_the_prefetcher_keeps_to_its_limit_and_drops_missed_rows():
    rows = np.arange(3000) % 2500
    held, prefetchers = [0], []  # the thread reads before `prefetcher` is bound

    def read(row):
        held.extend(prefetcher._bytes for prefetcher in prefetchers)
        return b"%010d" % row

    prefetcher = RowPrefetcher(read, iter(np.array_split(rows, 7)), np.negative, 500)
    prefetchers.append(prefetcher)
    for row in rows.tolist():
        assert prefetcher.pop(row) in (None, b"%010d" % row)
    prefetcher.close()
    assert max(held) <= 510


def test_the_prefetcher_takes_the_order_as_it_reads_and_remembers_no_row_that_was_passed():
    taken, read, go = [], [], threading.Event()

    def parts():
        for begin in range(0, 8 * SWEEP, 256):
            taken.append(begin)
            yield np.arange(begin, begin + 256)

    def slow(row):
        read.append(row)
        go.wait(30)
        return b"0"

    prefetcher = RowPrefetcher(slow, parts(), np.negative, 10)
    while not read:
        time.sleep(0.001)
    assert len(taken) == SWEEP // 256
    for row in range(4 * SWEEP):  # faster than the thread
        assert prefetcher.pop(row) is None
    go.set()
    while len(read) < 2:
        time.sleep(0.001)
    assert read[1] >= 4 * SWEEP
    assert not prefetcher._missed
    prefetcher.close()


def test_free_memory_is_the_lower_of_machine_and_container(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 100 kB\nMemAvailable: 50 kB\n")
    assert free_memory(tmp_path, tmp_path / "meminfo") == 50 * 1024
    (tmp_path / "memory.max").write_text("40000\n")
    (tmp_path / "memory.current").write_text("10000\n")
    assert free_memory(tmp_path, tmp_path / "meminfo") == 30000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(tmp_path, tmp_path / "meminfo") == 50 * 1024


def test_a_truncated_beton_is_refused(built, tmp_path):
    from viewstream.shards.errors import UserError
    from viewstream.shards.manifest import Manifest

    broken = Manifest.open(shutil.copytree(built.root, tmp_path / "set"))
    with broken.beton_path().open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(UserError, match="truncated"):
        ffcv.CachedBetonReader(broken)
