"""Tars and .beton files of other people at a URL are indexed: read once, and described beside them or in a folder."""

import sys
import threading
from collections import Counter
from functools import partial
from http.server import ThreadingHTTPServer

import fsspec
import pytest

from viewstream.pipeline.choose import open_reader, open_set
from viewstream.pipeline.readers.remote_tar import RemoteTarReader
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.care.index import index
from viewstream.shards.errors import UserError
from viewstream.shards.exits import outcome
from viewstream.shards.formats.read import open_beton, open_tar
from viewstream.shards.sources.remote import Remote
from viewstream.tools import index_shards

from ..shards.sources.server import Ranged

FILES = ("dataset.json", "manifest.parquet", "manifest.columns")


@pytest.fixture(scope="module")
def shards(pets, tmp_path_factory):
    """A built set, and a folder of its tars and .beton alone."""
    made = build(
        BuildOptions(
            source=pets,
            out=tmp_path_factory.mktemp("sets") / "theirs",
            format=("webdataset", "ffcv"),
            shard_size="60KB",
            workers=1,
        )
    )
    folder = tmp_path_factory.mktemp("bare") / "theirs"
    folder.mkdir()
    for path in (*made.tars(), *made.betons()):
        (folder / path.name).symlink_to(path)
    return made, folder


@pytest.fixture
def store(shards):
    """The objects of memory://theirs, which are removed at the end."""
    files = fsspec.filesystem("memory")
    for path in shards[1].iterdir():
        files.pipe_file(f"/theirs/{path.name}", path.read_bytes())
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def test_shards_at_a_url_get_the_description_that_a_folder_of_them_gets_and_it_comes_last(
    shards, store, tmp_path, monkeypatch
):
    made, folder = shards
    written, pipe, put = [], type(store).pipe_file, type(store).put_file
    monkeypatch.setattr(type(store), "pipe_file", lambda s, at, *a, **k: (written.append(at), pipe(s, at, *a, **k))[1])
    monkeypatch.setattr(type(store), "put_file", lambda s, a, at, **k: (written.append(at), put(s, a, at, **k))[1])
    there = index("memory://theirs", workers=2)
    assert written[-1] == "/theirs/dataset.json"
    assert {name.rpartition("/")[2] for name in store.ls("/theirs", detail=False)} == {
        *(path.name for path in folder.iterdir()),
        *FILES,
    }
    here = index(folder, workers=1)
    try:
        for name in FILES[1:]:
            assert store.cat_file(f"/theirs/{name}") == (folder / name).read_bytes()
        assert there.info.files == here.info.files
        assert there.info.classes == here.info.classes
    finally:
        for name in FILES:
            (folder / name).unlink()
    remote = open_set("memory://theirs", cache=tmp_path)
    for name, local in (("webdataset", open_tar(made)), ("ffcv", open_beton(made))):
        order = {key: row for row, key in enumerate(made.keys)}
        with open_reader(name, remote) as reader, local:
            assert all(reader.read(row) == local.read(order[key]) for row, key in enumerate(remote.keys))


def test_each_file_is_read_once_and_no_tar_stays(shards, store, monkeypatch, tmp_path):
    read, sizes = Counter(), {path.name: path.stat().st_size for path in shards[0].tars()}
    plain = Remote.read

    def noted(self, path, start=0, length=None):
        read[path] += length or 0
        return plain(self, path, start, length)

    monkeypatch.setattr(Remote, "read", noted)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    store.rm_file(f"/theirs/{shards[0].beton_path().name}")
    index("memory://theirs")
    assert {name: read[name] for name in sizes} == sizes
    assert not list(tmp_path.iterdir())


def test_a_place_that_takes_no_files_is_known_before_anything_is_read(shards, store, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Access Denied")

    monkeypatch.setattr(type(store), "pipe_file", refuse)
    monkeypatch.setattr(Remote, "read", lambda *_: pytest.fail("it was read"))
    with pytest.raises(UserError, match=r"theirs/index.partial is refused .*; --out DIR keeps the manifest in a f"):
        index("memory://theirs")


def test_shards_on_a_web_server_are_described_in_a_folder_that_loaders_take(shards, tmp_path, monkeypatch, capsys):
    made, folder = shards
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranged, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"

        def program(*argv):
            monkeypatch.setattr(sys, "argv", ["index_shards.py", *map(str, argv)])
            return outcome(index_shards.main)

        assert "is on a web server, which takes no files" in program(url)[1]
        assert "has a password or a query" in program(url.replace("://", "://me:secret@"), "--out", tmp_path / "x")[1]
        out = tmp_path / "cache" / "theirs"
        assert program(url, "--out", out)[0] == 0
        assert f"--data {out}" in capsys.readouterr().out
        remote = open_set(str(out))
        with open_reader("webdataset", remote) as reader, open_tar(made) as local:
            assert isinstance(reader, RemoteTarReader)
            order = {key: row for row, key in enumerate(made.keys)}
            assert all(reader.read(row) == local.read(order[key]) for row, key in enumerate(remote.keys))
        server.shutdown()


def test_out_is_for_files_at_a_url(shards, tmp_path):
    with pytest.raises(UserError, match="is for files at a URL"):
        index(shards[1], out=tmp_path)
