"""Sets at a URL: what opening asks for, verification, the programs, and sets of two versions under one name."""

import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import fsspec
import numpy as np
import pyarrow as pa
import pytest

from viewstream.pipeline.choose import open_any_reader, open_reader, open_set
from viewstream.pipeline.readers.ranged import RangedReader
from viewstream.pipeline.readers.remote import open_remote
from viewstream.pipeline.readers.remote_tar import RemoteTarReader
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.exits import outcome
from viewstream.shards.formats.read import open_tar
from viewstream.shards.info import DatasetInfo
from viewstream.shards.manifest import Manifest, write
from viewstream.shards.sources import pieces
from viewstream.shards.sources.remote import Remote
from viewstream.shards.table import SCHEMA
from viewstream.tools import inspect_shards, look, make_static, plan, verify_shards

from ..pipeline.readers.fetched import QUICK
from ..pipeline.server import FaultyServer

MANY = 10_000  # tars


class Answer(NamedTuple):
    """What a program ended with."""

    code: int
    out: str
    error: str


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Answer]:
    """(program, arguments) -> its answer, in this process and a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(program, *argv: object) -> Answer:
        monkeypatch.setattr(sys, "argv", [program.__name__, *map(str, argv)])
        capsys.readouterr()
        code, error = outcome(program.main)
        return Answer(code, capsys.readouterr().out, error)

    return call


def emptied():
    """memory:// without objects: other files of tests use it too."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    return files


@pytest.fixture
def store():
    """The objects of memory://, which are removed at the end."""
    yield emptied()
    emptied()


@pytest.fixture
def url(store, several):
    """That set in memory."""
    store.put(str(several.root), "/sets/pets", recursive=True)
    return "memory://sets/pets"


@pytest.fixture
def web(several):
    """That set on a web server."""
    with FaultyServer(several.root, ranges=True) as server:
        server.url = server.url.replace("many", "pets")
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def test_a_set_of_ten_thousand_tars_opens_with_two_requests_and_again_with_one(tmp_path):
    root = tmp_path / "many"
    root.mkdir()
    names = [f"many-{n:06d}.tar" for n in range(MANY)]
    columns = {
        "uid": np.arange(MANY, dtype=np.uint64),
        "key": [f"a/{n}" for n in range(MANY)],
        "label": np.zeros(MANY, np.int32),
        "source": [f"a/{n}" for n in range(MANY)],
        "height": np.full(MANY, 8, np.int32),
        "width": np.full(MANY, 8, np.int32),
        "bytes": np.full(MANY, 100),
        "sha256": [bytes(32)] * MANY,
        "shard": np.arange(MANY, dtype=np.int32),
        "offset": np.full(MANY, 512),
        "beton": np.full(MANY, -1),
    }
    info = DatasetInfo(
        name="many",
        split="train",
        subset={"name": "full", "split": "train"},
        classes=("a",),
        counts=(),
        samples=0,
        encoding={"indexed": True},
        formats=("webdataset",),
        files=tuple({"file": name, "bytes": 10240, "samples": 1, "digest": "0" * 64} for name in names),
        report={"normalised": {}},
    )
    write(root, info, [pa.table(columns, schema=SCHEMA)])
    with FaultyServer(tmp_path / "many", ranges=True) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        for asked in (["dataset.json", "manifest.parquet"], ["dataset.json"]):
            server.asked.clear()
            manifest = open_remote(server.url, tmp_path / "cache", retry=QUICK)
            RemoteTarReader(manifest).close()
            RangedReader(manifest, "webdataset").close()
            assert len(manifest.info.files) == MANY
            assert server.asked == asked
        server.shutdown()


def test_a_whole_set_at_a_url_verifies_and_nothing_is_left_of_it(several, url, ran, tmp_path):
    answer = ran(verify_shards, url)
    assert (answer.code, answer.error) == (0, "")
    assert f"{url} is as it was built: {len(several)} samples, webdataset, ffcv" in answer.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:5] + bytes([data[5] ^ 1]) + data[6:], "it differs, but no JPEG in it does|no .beton"),
        (lambda data: data[: len(data) // 2], r"it has [\d,]+ bytes, not [\d,]+"),
        (lambda data: None, "is absent"),
    ],
)
def test_verification_names_objects_that_are_altered_cut_off_or_absent(several, store, url, ran, change, words):
    names = [several.tars()[2].name, several.beton_path().name]
    for name in names:
        data = change(store.cat_file(f"/sets/pets/{name}"))
        store.rm_file(f"/sets/pets/{name}")
        if data:
            store.pipe_file(f"/sets/pets/{name}", data)
    answer = ran(verify_shards, url)
    assert answer.code == 2
    for name, line in zip(names, answer.out.splitlines(), strict=True):
        assert re.fullmatch(rf"{name}: .*{words}.*", line)
    assert f"2 files of {url} are damaged or absent: upload them again from a set that is whole" in answer.error


def test_an_absent_index_of_a_tar_is_named(several, store, url, ran):
    name = several.tars()[1].with_suffix(".idx").name
    store.rm_file(f"/sets/pets/{name}")
    assert f"{name}: is absent" in ran(verify_shards, url).out


def test_damaged_samples_of_an_object_are_named(several, store, url, ran):
    tar, row = several.tars()[0].name, int(np.flatnonzero(several.shard == 0)[0])
    data = bytearray(store.cat_file(f"/sets/pets/{tar}"))
    data[int(several.offset[row]) + 30] ^= 1
    store.pipe_file(f"/sets/pets/{tar}", bytes(data))
    answer = ran(verify_shards, url)
    assert f"{tar}: 1 sample differs ({several.key(row)})" in answer.out


def test_a_set_on_a_web_server_is_verified_and_what_it_refuses_is_named(several, web, ran):
    assert ran(verify_shards, web.url).code == 0
    name = several.tars()[1].name
    web.faults[name] = ["403"] * 100
    answer = ran(verify_shards, web.url)
    assert re.search(rf"{name}: .*403.*", answer.out)
    assert f"1 file of {web.url} is damaged or absent" in answer.error


def test_a_web_server_without_ranges_is_refused_in_one_line_and_nothing_called_damaged(web, ran, monkeypatch):
    monkeypatch.setattr(pieces.opened, "__defaults__", (16384,))
    web.ranges = False
    answer = ran(verify_shards, web.url)
    assert (answer.code, answer.out) == (2, "")
    assert "is on a server that sends whole files only, no ranges: fetch it first" in answer.error


def test_no_more_than_a_piece_of_a_file_is_in_memory_while_it_is_verified(several, url, ran, monkeypatch):
    lengths, read = [], Remote.read

    def noted(self, path, start=0, length=None):
        if path.endswith(".tar"):
            lengths.append(length)
        return read(self, path, start, length)

    monkeypatch.setattr(Remote, "read", noted)
    monkeypatch.setattr(pieces.opened, "__defaults__", (16384,))
    assert ran(verify_shards, url).code == 0
    assert max(lengths) <= 3 * 16384
    assert sum(lengths) == sum(line["bytes"] for line in several.info.files if line["file"].endswith(".tar"))


def test_repair_is_refused_at_a_url(url, ran):
    answer = ran(verify_shards, url, "--repair")
    assert answer.code == 2
    assert f"--repair writes files of a set in place, and {url} is a URL" in answer.error


@pytest.mark.full
def test_programs_take_a_set_at_a_url_as_they_take_a_folder(several, url, ran, tmp_path):
    for program, flag in ((inspect_shards, ()), (plan, ("--data",))):
        more = ("--step-rate", 100) if program is plan else ("--no-picture",)
        there, here = ran(program, *flag, url, *more), ran(program, *flag, several.root, *more)
        assert (there.code, there.out) == (0, here.out), there.error
    for kind in ("webdataset", "ffcv"):
        assert (
            ran(look, "--data", url, "--loader", kind, "--size", 32, "--ids", "0-1", "--renderers", "device").code == 0
        )
    assert not (tmp_path / "data/cache/tars").exists(), "few samples are read by ranges"


@pytest.mark.full
def test_the_figure_of_a_set_at_a_url_lies_in_this_folder(url, ran, tmp_path):
    pytest.importorskip("matplotlib")
    answer = ran(inspect_shards, url)
    assert (answer.code, answer.error) == (0, "")
    assert (tmp_path / "inspect.png").stat().st_size


@pytest.mark.full
def test_a_static_set_of_images_at_a_url_is_that_of_a_folder(several, url, ran, tmp_path):
    for data, out in ((url, "there"), (several.root, "here")):
        argv = ("--data", data, "--out", tmp_path / out, "--per-class", 2, "--size", 32, "--workers", 1)
        assert ran(make_static, *argv).code == 0
    files = sorted(path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("*.jpeg"))
    assert len(files) == 24
    assert all((tmp_path / "there" / file).read_bytes() == (tmp_path / "here" / file).read_bytes() for file in files)


def test_a_folder_of_images_is_refused_at_a_url(pets, store, tmp_path, ran):
    made = build(BuildOptions(source=pets, split="val", out=tmp_path / "val", format=("folder",), workers=1))
    store.put(str(made.root), "/sets/val", recursive=True)
    for program in (verify_shards, inspect_shards):
        answer = ran(program, "memory://sets/val")
        assert answer.code == 2
        assert (
            "memory://sets/val holds a folder of images, and sets at a URL are read from tars or a .beton"
            in answer.error
        )


def test_the_folder_loader_is_refused_at_a_url_and_no_reader_takes_it(built, store, tmp_path):
    store.put(str(built.root), "/sets/all", recursive=True)
    remote = open_set("memory://sets/all", cache=tmp_path)
    with pytest.raises(UserError, match="memory://sets/all is read from webdataset or ffcv: choose that --loader"):
        open_reader("folder", remote)
    with open_any_reader(remote) as reader:
        assert isinstance(reader, RemoteTarReader)


@pytest.mark.parametrize("form", ["webdataset", "ffcv", "cache"])
def test_a_set_that_was_built_again_is_named_so_and_its_reader_keeps_its_own_manifest(
    pets, several, store, url, tmp_path, form
):
    first = open_remote(url, tmp_path / "cache", retry=QUICK)
    keys = several.keys
    reader = RemoteTarReader(first, retry=QUICK) if form == "cache" else RangedReader(first, form, QUICK)
    again = build(
        BuildOptions(source=pets, out=tmp_path / "pets", format=several.info.formats, max_side=64, seed=1, workers=1)
    )
    store.rm("/sets/pets", recursive=True)
    store.put(str(again.root), "/sets/pets", recursive=True)
    second = open_remote(url, tmp_path / "cache", retry=QUICK)
    assert second.root != first.root
    assert second.keys == again.keys
    assert first.keys == keys
    with reader, pytest.raises(UserError, match=r"memory://sets/pets was built again since it was opened .*start agai"):
        [reader.read(row) for row in range(len(first))]
    with RemoteTarReader(second, retry=QUICK) as new, open_tar(again) as right:
        assert all(new.read(row) == right.read(row) for row in range(len(again)))


def test_a_tar_of_another_version_is_an_error_and_does_not_reach_the_cache(pets, several, store, url, tmp_path):
    again = build(BuildOptions(source=pets, out=tmp_path / "x", format=("webdataset",), max_side=64, seed=1, workers=1))
    name = several.tars()[0].name
    store.pipe_file(f"/sets/pets/{name}", again.tars()[0].read_bytes())
    remote = open_remote(url, tmp_path / "cache", retry=QUICK)
    row = int(np.flatnonzero(several.shard == 0)[0])
    with RemoteTarReader(remote, retry=QUICK) as reader, pytest.raises(UserError, match=rf"{url}/{name} could not be"):
        reader.read(row)
    assert not [path for path in (tmp_path / "cache/tars").iterdir() if not path.name.startswith(".")]


def test_a_manifest_opened_at_a_url_is_the_local_one(several, url, tmp_path):
    remote = open_remote(url, tmp_path)
    assert isinstance(remote, Manifest)
    assert remote.identity == several.identity
