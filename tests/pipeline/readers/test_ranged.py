"""Samples of remote files are read by ranges: the same bytes, few requests, errors that name the object."""

import dataclasses
import threading

import fsspec
import numpy as np
import pytest

from viewstream.pipeline.choose import open_reader
from viewstream.pipeline.readers import row_fetch
from viewstream.pipeline.readers.ranged import RangedReader
from viewstream.pipeline.readers.remote import open_remote
from viewstream.pipeline.readers.row_fetch import RowFetcher
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.engine import THREADS
from viewstream.shards.errors import UserError
from viewstream.shards.formats.read import open_beton, open_tar
from viewstream.testing.readers import check_reader

from ..server import FaultyServer
from .fetched import QUICK

LOCAL = {"webdataset": open_tar, "ffcv": open_beton}


@pytest.fixture
def server(several):
    """A web server of ranges."""
    with FaultyServer(several.root, ranges=True) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.over.set()
        running.shutdown()


@pytest.fixture
def remote(server, tmp_path):
    """The set of that server."""
    manifest = open_remote(server.url, tmp_path, retry=QUICK)
    server.asked.clear()
    return manifest


def same(reader, local, rows):
    return all(np.array_equal(reader.read(row), local.read(row)) for row in rows)


@pytest.mark.parametrize("form", LOCAL)
def test_a_sample_is_one_request_for_its_range(several, server, remote, form):
    with RangedReader(remote, form, QUICK) as reader, LOCAL[form](several) as local:
        assert len(server.asked) == (2 if form == "ffcv" else 0), "the tables of a .beton"
        server.asked.clear()
        assert same(reader, local, range(len(several)))
        assert len(server.asked) == len(several)


@pytest.mark.parametrize("form", LOCAL)
def test_remote_readers_keep_the_laws_of_readers(several, tmp_path, form):
    store = fsspec.filesystem("memory")
    store.put(str(several.root), "/ranged", recursive=True)
    try:
        remote = open_remote("memory://ranged", tmp_path)
        check_reader(lambda: RangedReader(remote, form), remote, samples=20)
    finally:
        store.rm("/ranged", recursive=True)


def test_the_ffcv_reader_of_a_set_at_a_url_reads_ranges(several, remote):
    with open_reader("ffcv", remote) as reader, open_beton(several) as local:
        assert isinstance(reader, RangedReader)
        order = np.random.default_rng(0).permutation(len(several))
        reader.prefetch(iter(np.array_split(order, 4)))
        assert same(reader, local, order.tolist())


def test_a_row_that_no_reader_would_read_is_named_when_it_is_read_and_not_before(several, remote):
    damaged = _with_size(remote, 5, 1 << 40)
    with RangedReader(damaged, "webdataset", QUICK) as reader, open_tar(several) as local:
        reader.prefetch(iter([np.arange(8)]))
        assert same(reader, local, range(5))
        with pytest.raises(UserError, match="sample 5"):
            reader.read(5)


def _with_size(manifest, row, size):
    """The manifest, with another size of a sample."""
    sizes = manifest.bytes.copy()
    sizes[row] = size
    return dataclasses.replace(manifest, bytes=sizes)


def test_prefetched_rows_are_requested_once_and_a_bounded_number_ahead(monkeypatch):
    monkeypatch.setattr(row_fetch, "ROWS", 8)
    asked, lock = [], threading.Lock()

    def read(row, stop):
        with lock:
            asked.append(row)
        return row

    fetcher = RowFetcher(read, iter([np.arange(50), np.arange(50)]), lambda row: 1)
    taken = []
    for row in [*range(50), *range(50)]:
        taken.append(fetcher.take(row))
        with lock:
            assert len(asked) <= len(taken) + 8
    assert taken == [*range(50), *range(50)]
    assert sorted(asked) == sorted(taken)
    fetcher.close()


def test_what_is_held_ahead_is_bounded_in_bytes(monkeypatch):
    monkeypatch.setattr(row_fetch, "ROOM", 100)
    fetcher = RowFetcher(lambda row, stop: row, iter([np.arange(50)]), lambda row: 30)
    assert len(fetcher._tasks) == 4
    fetcher.close()


def test_a_row_out_of_turn_is_read_by_its_caller_and_not_held_later(monkeypatch):
    monkeypatch.setattr(row_fetch, "ROWS", 8)
    fetcher = RowFetcher(lambda row, stop: row, iter([np.arange(40)]), lambda row: 1)
    assert fetcher.take(39) is None
    assert [fetcher.take(row) for row in range(39)] == [*range(39)]
    assert not fetcher._tasks
    fetcher.close()


def test_requests_are_in_flight_together():
    met = threading.Barrier(THREADS)
    fetcher = RowFetcher(lambda row, stop: met.wait(30), iter([np.arange(THREADS)]), lambda row: 1)
    for row in range(THREADS):
        fetcher.take(row)
    fetcher.close()


def test_a_closed_reader_ends_its_requests_and_the_reads_that_wait(several, server, remote):
    name = several.tars()[0].name
    row = int(np.flatnonzero(several.shard == 0)[0])
    server.faults[name] = ["stall"] * 100
    reader = RangedReader(remote, "webdataset", QUICK)
    reader.prefetch(iter([np.array([row])]))
    server.wait_for_request(name)
    threading.Timer(0.05, reader.close).start()
    with pytest.raises(UserError, match=r"the loader of .* was closed while sample"):
        reader.read(row)
    reader.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "viewstream-ahead"]


@pytest.mark.parametrize("fault", ["drop", "short", "flip", "500"])
def test_a_faulty_answer_is_asked_for_again(several, server, remote, fault):
    name = several.tars()[0].name
    rows = np.flatnonzero(several.shard == 0).tolist()
    server.faults[name] = [fault, fault]
    with RangedReader(remote, "webdataset", QUICK) as reader, open_tar(several) as local:
        assert same(reader, local, rows)
    assert len(server.asked) == len(rows) + 2


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("403", r"may not be read .*403.*check your access rights"),
        ("404", r"is not there: check that the whole set was uploaded"),
        ("short", r"could not be fetched in 4 tries .*it has [\d,]+ bytes at byte [\d,]+, not [\d,]+: it is cut off"),
        ("flip", r"could not be fetched in 4 tries \(sample \d+ in it differs from the manifest\)"),
    ],
)
def test_what_is_wrong_with_an_object_is_one_line_that_names_it(several, server, remote, fault, words):
    name = several.tars()[0].name
    server.faults[name] = [fault] * 100
    with RangedReader(remote, "webdataset", QUICK) as reader:
        reader.prefetch(iter([np.flatnonzero(several.shard == 0)]))
        with pytest.raises(UserError, match=rf"{server.url}/{name} {words}") as raised:
            reader.read(int(np.flatnonzero(several.shard == 0)[0]))
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("form", LOCAL)
def test_a_server_that_sends_whole_files_only_is_refused_at_once(several, server, remote, form):
    server.ranges = False
    with pytest.raises(UserError, match=r"is on a server that sends whole files only"):  # noqa: SIM117
        with RangedReader(remote, form, QUICK) as reader:
            reader.read(int(np.argmax(several.offset)))
    assert [name for name in server.asked if name != "dataset.json"] == server.asked[:1]


def test_a_beton_of_another_set_under_its_name_is_refused(pets, several, tmp_path):
    other = build(BuildOptions(source=pets, split="val", out=tmp_path / "other", format=("ffcv",), workers=1))
    (line,) = [line for line in several.info.files if line["file"].endswith(".beton")]
    name = several.beton_path().name
    store = fsspec.filesystem("memory")
    store.put(str(several.root), "/changed", recursive=True)
    try:
        again = open_remote("memory://changed", tmp_path / "cache", retry=QUICK)
        data = other.beton_path().read_bytes()
        store.pipe(f"/changed/{name}", data + bytes(max(0, line["bytes"] - len(data))))
        with pytest.raises(UserError, match=rf"memory://changed/{name} .*(other samples|is truncated|it is cut off)"):
            RangedReader(again, "ffcv", QUICK)
    finally:
        store.rm("/changed", recursive=True)


def test_readers_of_ranges_are_for_sets_at_a_url(several):
    with pytest.raises(UserError, match="is a local set: choose the loader ffcv"):
        RangedReader(several, "ffcv")
