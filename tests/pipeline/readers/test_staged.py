"""A set that is being staged: the same bytes at every moment, from the source or the stage, and no read waits."""

import threading
from contextlib import closing

import fsspec
import numpy as np
import pytest
import torch

from viewstream.augment.recipes import moco_v2
from viewstream.pipeline.choose import open_loader, open_reader
from viewstream.pipeline.plan.order import Plan
from viewstream.pipeline.readers import copies, stager
from viewstream.pipeline.readers.cache import Cache, NoRoom
from viewstream.pipeline.readers.remote import open_remote
from viewstream.pipeline.readers.stage import Stage, staged_set, staging
from viewstream.pipeline.reading import Reading
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.formats.read import open_beton, open_tar
from viewstream.shards.subsets.classsets import only

PLAIN = {"webdataset": open_tar, "ffcv": open_beton}
ROOM = 10**9


@pytest.fixture(scope="module")
def both(pets, tmp_path_factory):
    """The pets in a few tars and a .beton, a part of it raw pixels."""
    out = tmp_path_factory.mktemp("sets") / "both"
    kinds = ("webdataset", "ffcv")
    return build(BuildOptions(source=pets, out=out, format=kinds, shard_size="150KB", raw_fraction=0.3, workers=1))


@pytest.fixture
def by_hand(monkeypatch):
    """No process stages, the test does."""
    monkeypatch.setattr(copies, "stager", lambda: None)
    monkeypatch.setattr(copies, "_tallies", {})


@pytest.fixture
def at_url(both):
    store = fsspec.filesystem("memory")
    store.put(str(both.root), "/staged", recursive=True)
    yield "memory://staged"
    store.rm("/staged", recursive=True)


@pytest.fixture(params=["local", "url"])
def source(request, both, tmp_path):
    """The set in its folder, and at a URL."""
    if request.param == "local":
        return both
    return open_remote(request.getfixturevalue("at_url"), tmp_path / "stage", ROOM)


def same(reader, plain, rows, begun=None):
    """Whether a task reads the samples of `rows`, and `read` each of them, as `plain` does. `begun`: the task, begun
    earlier."""
    together = map(bits, (begun or Reading(reader, rows))(range(len(rows))))
    return [*together] == [bits(plain.read(row)) for row in rows] == [bits(reader.read(row)) for row in rows]


def bits(sample):
    """The bytes of a JPEG or of pixels."""
    return sample.tobytes() if isinstance(sample, np.ndarray | memoryview) else sample


def staged_one_by_one(files):
    """After each further file that is staged."""
    cache = Cache(files.folder, ROOM)
    for number, (name, line) in enumerate(zip(files.names, files.lines, strict=True)):
        cache.get(name, line["bytes"], lambda path, n=number: files.fill(n, path, bool), threading.Event()).close()
        yield number + 1


@pytest.mark.parametrize("form", PLAIN)
def test_reads_are_the_same_at_every_moment_of_staging(source, both, form, tmp_path, by_hand):
    stage, rows = Stage(tmp_path / "stage", ROOM), np.random.default_rng(0).permutation(len(both))
    with open_reader(form, source, stage=stage) as reader, PLAIN[form](both) as plain:
        found = getattr(reader, "files", reader).copies
        reader.prefetch(iter(np.array_split(rows, 5)))
        assert same(reader, plain, rows)
        assert not found.tally.hits
        for count in staged_one_by_one(staged_set(source, form, stage)):
            early = Reading(reader, rows)
            found.look()
            assert found.here.sum() == count
            assert same(reader, plain, rows, early)
            reader.prefetch(iter(np.array_split(rows, 5)))
            assert same(reader, plain, rows)
        found.tally.reads = found.tally.hits = 0
        assert same(reader, plain, rows)
        assert found.tally.hits == found.tally.reads >= 2 * len(rows)
    assert "100.0% of" in copies.summary()
    with open_reader(form, source, stage=stage) as again, PLAIN[form](both) as plain:
        assert getattr(again, "files", again).copies.here.all()
        assert same(again, plain, rows)


@pytest.mark.parametrize("form", PLAIN)
def test_no_read_waits_for_a_copy_that_stands_still(source, both, form, tmp_path, by_hand):
    files, standing = staged_set(source, form, Stage(tmp_path / "stage", ROOM)), threading.Event()
    begun, rows = threading.Event(), np.arange(len(both))

    def fill(path):
        path.write_bytes(bytes(files.lines[0]["bytes"]))  # as long as it will be
        begun.set()
        assert standing.wait(60)
        raise UserError("stopped")

    def copying():
        with pytest.raises(UserError, match="stopped"):
            Cache(files.folder, ROOM).get(files.names[0], files.lines[0]["bytes"], fill, threading.Event())

    copier = threading.Thread(target=copying)
    copier.start()
    assert begun.wait(60)
    with open_reader(form, source, stage=files.stage) as reader, PLAIN[form](both) as plain:
        assert same(reader, plain, rows)
        assert not getattr(reader, "files", reader).copies.here.any()
        assert not standing.is_set()
    standing.set()
    copier.join()


def test_a_local_set_that_is_staged_opens_no_more_files_and_needs_its_source_no_more(both, tmp_path, by_hand):
    stage = Stage(tmp_path, ROOM)
    assert [*staging(staged_set(both, "webdataset", stage))] == []
    with open_reader("webdataset", both, stage=stage) as reader, open_tar(both) as plain:
        assert len(reader.files.descriptors) == len(plain.files.descriptors)
        paths = [reader.locate(row) for row in (0, 50)]
        assert all(str(tmp_path) in path for path in paths)


def test_a_staged_file_that_is_open_is_not_removed_for_another_set(both, tmp_path, by_hand):
    files = staged_set(both, "webdataset", Stage(tmp_path, ROOM))
    assert [*staging(files)] == []
    total, never = sum(line["bytes"] for line in files.lines), threading.Event()
    other = Cache(files.folder, total, timeout=0)

    def fill(path):
        path.write_bytes(b"x" * 1000)

    with open_reader("webdataset", both, stage=files.stage), pytest.raises(NoRoom, match="are in use"):
        other.get("other", 1000, fill, never)
    other.get("other", 1000, fill, never).close()


@pytest.mark.parametrize("form", PLAIN)
def test_some_classes_of_a_set_stage_its_whole_files(source, both, form, tmp_path, by_hand):
    (tmp_path / "cold.txt").write_text("/fox\n/eel\n")
    part, local = (only(data, str(tmp_path / "cold.txt")) for data in (source, both))
    stage = Stage(tmp_path / "stage", ROOM)
    assert [*staging(staged_set(part, form, stage))] == []
    with open_reader(form, part, stage=stage) as reader, PLAIN[form](local) as plain:
        assert same(reader, plain, np.arange(len(part)))


@pytest.mark.parametrize("loader", ["folder", "webdataset-stream"])
def test_a_loader_that_reads_no_whole_files_is_refused_with_a_stage(built, loader, tmp_path):
    with pytest.raises(UserError, match=r"--stage copies tars and .beton files, which .* choose --loader web"):
        open_reader(loader, built, stage=Stage(tmp_path, ROOM))


@pytest.mark.parametrize("loader", ["webdataset", "ffcv", "memory", "dali"])
def test_a_process_stages_a_set_while_every_loader_gives_the_batches_of_the_source(both, loader, tmp_path, monkeypatch):
    if loader == "dali":
        pytest.importorskip("nvidia.dali")
    monkeypatch.setattr(copies, "LOOK", 0.01)
    plan, data = Plan(96, 16, seed=3), both
    with closing(open_loader(loader, data, plan, moco_v2(32), threads=1, stage=Stage(tmp_path, ROOM))) as staged:
        with closing(open_loader(loader, data, plan, moco_v2(32), threads=1)) as plain:
            for epoch in range(2):
                for a, b in zip(staged.epoch(epoch), plain.epoch(epoch), strict=True):
                    assert torch.equal(a.index, b.index)
                    assert all(map(torch.equal, a.views, b.views))
        assert stager.stager().ended == ""
