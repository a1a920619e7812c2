"""Servers whose files have no end, or lie elsewhere: nothing is read past the known length."""

import numpy as np
import pytest

from viewstream.pipeline.readers import remote
from viewstream.pipeline.readers.remote import open_remote
from viewstream.pipeline.readers.remote_tar import RemoteTarReader
from viewstream.pipeline.readers.sequential import SequentialTarReader
from viewstream.shards.errors import UserError
from viewstream.shards.sources import remote as sources

from ...guarded import MOST, guarded
from .fetched import QUICK, assert_same, cached, first_of

TRIES = len(QUICK.pauses) + 1
PIECES = 2 * TRIES * (5 << 20)  # bytes that are on their way when a client has had enough, twice of what fsspec takes


@pytest.fixture
def server(many):
    with guarded(many.root.parent, ask=False) as running:
        running.set = f"{running.open}/{many.root.name}"
        yield running


def test_a_tar_without_end_stops_at_the_length_in_the_manifest(server, many, tmp_path):
    tar, row = many.tars()[0], int(np.flatnonzero(many.shard == 0)[0])
    server.faults = {tar.name: "endless"}
    reader = RemoteTarReader(open_remote(server.set, tmp_path, retry=QUICK), retry=QUICK)
    with pytest.raises(UserError, match=rf"{tar.name} .*sends [\d,]+ or more bytes, not {tar.stat().st_size:,}"):
        reader.read(row)
    assert server.sent < PIECES < MOST
    assert not cached(tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*")) < 5 << 20
    server.faults = {}
    assert_same(reader, many, [row])
    reader.close()


@pytest.mark.parametrize(("name", "room"), [("dataset.json", "PAGE_ROOM"), ("manifest.parquet", "TABLE_ROOM")])
def test_a_description_without_end_stops_at_a_limit(server, tmp_path, monkeypatch, name, room):
    monkeypatch.setattr(remote, room, 10_000)
    server.faults = {name: "endless"}
    with pytest.raises(UserError, match=rf"{name} .*sends [\d,]+ or more bytes, not"):
        open_remote(server.set, tmp_path, retry=QUICK)
    assert server.sent < PIECES < MOST
    assert not list(tmp_path.rglob(f"{name}*"))


def test_a_range_without_end_stops_at_the_bytes_that_were_asked_for(server, many, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "PAUSES", ())
    reader = SequentialTarReader(open_remote(server.set, tmp_path, retry=QUICK))
    server.faults = {tar.name: "endless" for tar in many.tars()}
    reader.prefetch(iter([np.arange(len(many))]))
    with pytest.raises(UserError, match=r"cannot be streamed .*the server sends more than [\d,]+ bytes"):
        reader.read(0)
    reader.close()
    assert server.sent < PIECES < MOST


@pytest.mark.parametrize("scheme", ["file", "ftp", "gopher"])
@pytest.mark.parametrize("name", ["dataset.json", "tar"])
def test_a_redirect_to_another_scheme_is_refused(server, many, tmp_path, scheme, name):
    name = many.tars()[0].name if name == "tar" else name
    server.faults = {name: f"{scheme}://{many.root}/{name}"}
    with pytest.raises(UserError, match=rf"{name} could not be fetched .*{scheme}"):
        first_of(server.set, tmp_path)
    assert not list(tmp_path.rglob(name))
    assert not [path for path in tmp_path.glob("tars/*") if path.name != ".alone"]
