"""Streamed tars: the same bytes in the order that was told, bounded memory, and an end to whatever goes wrong."""

import http.server
import io
import os
import re
import shutil
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viewstream.pipeline.remote import RemoteTars, open_remote
from viewstream.pipeline.sequential import SequentialTars
from viewstream.shards.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.index import index
from viewstream.shards.manifest import Manifest
from viewstream.shards.read import open_tar


@pytest.fixture(scope="module")
def many(pets, tmp_path_factory):
    """The pets in several small tars."""
    out = tmp_path_factory.mktemp("sets") / "many"
    made = build(BuildOptions(source=pets, out=out, format=("webdataset",), shard_size="60KB", workers=1))
    assert len(made.tars()) > 5
    return made


@pytest.fixture
def copy(many, tmp_path):
    """One to damage."""
    shutil.copytree(many.root, tmp_path / "copy")
    return Manifest.open(tmp_path / "copy")


def blocks(shard, window, seed):
    """All rows: tars in a drawn order, samples mixed within `window` of them."""
    rng = np.random.default_rng(seed)
    tars = rng.permutation(int(shard.max()) + 1)
    parts = [np.flatnonzero(np.isin(shard, tars[at : at + window])) for at in range(0, len(tars), window)]
    return np.concatenate([rng.permutation(part) for part in parts])


def plain(manifest, rows):
    door = open_tar(manifest)
    data = [door.read(row) for row in rows.tolist()]
    door.close()
    return data


def streamed(door, rows, threads=1):
    """What the door reads of an epoch, in order."""
    door.expect(rows)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(door.read, rows.tolist()))


def streaming():
    return [t for t in threading.enumerate() if t.name == "viewstream-stream"]


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 4), st.integers(0, 4), st.integers(0, 99), st.integers(1, 4), st.integers(0, 90))
def test_an_order_of_any_window_reads_the_same_bytes(many, window, more, seed, threads, start):
    rows = blocks(many.shard, window, seed)[start:]  # a resumed epoch is the tail of the whole one
    door = SequentialTars(many, window + more, silence=5)
    try:
        assert streamed(door, rows, threads) == plain(many, rows)
        assert door._window.bytes == 0
    finally:
        door.close()


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 4), st.integers(0, 99), st.permutations(range(8)))
def test_threads_may_read_a_little_out_of_order_even_in_the_narrowest_window(many, window, seed, order):
    rows = blocks(many.shard, window, seed)
    door = SequentialTars(many, window, silence=5)
    try:
        door.expect(rows)
        for at in range(0, len(rows), 8):
            some = rows[at : at + 8][order]
            assert [door.read(row) for row in some.tolist()] == plain(many, some)
    finally:
        door.close()


def test_what_is_held_stays_in_the_window(many):
    door, held = SequentialTars(many, 2), []
    rows = blocks(many.shard, 2, 0)
    door.expect(rows)
    for row in rows.tolist():
        time.sleep(0.001)
        held.append(sum(map(len, list(door._window.held.values()))))
        door.read(row)
    assert door.place(3) == str(many.tars()[0])
    door.close()
    assert max(many.bytes) < max(held) <= sum(sorted(tar.stat().st_size for tar in many.tars())[-2:])


def test_a_share_of_the_rows_and_rows_that_come_again_are_read_too(many):
    rows = blocks(many.shard, 2, 1)[1::2]
    rows = np.concatenate([rows, rows[:3], rows[-1:]])  # as an epoch that is padded at its end
    door = SequentialTars(many, 3)
    assert streamed(door, rows, 3) == plain(many, rows)
    assert streamed(door, rows[:0]) == []
    door.close()


def test_every_door_of_tars_reads_the_same_bytes_from_near_and_far(many, tmp_path):
    rows, store = blocks(many.shard, 2, 3), fsspec.filesystem("memory")
    store.put(str(many.root), "/near", recursive=True)
    try:
        far = open_remote("memory://near", tmp_path)
        for door in (RemoteTars(far), SequentialTars(far, 4), SequentialTars(many, 4)):
            assert streamed(door, rows, 2) == plain(many, rows)
            door.close()
    finally:
        store.rm("/near", recursive=True)


class Ranged(http.server.SimpleHTTPRequestHandler):
    """Sends parts of files."""

    def do_GET(self):
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        if not asked:
            return super().do_GET()
        data = Path(self.translate_path(self.path)).read_bytes()
        part = data[int(asked[1]) : int(asked[2]) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {asked[1]}-{int(asked[1]) + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_):
        pass


def test_tars_of_a_web_server_are_streamed(many, tmp_path):
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0),
        lambda *a: Ranged(*a, directory=str(many.root)),  # type: ignore
    ) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        rows = blocks(many.shard, 3, 0)
        door = SequentialTars(open_remote(f"http://127.0.0.1:{server.server_port}", tmp_path), 4)
        assert streamed(door, rows, 2) == plain(many, rows)
        door.close()
        server.shutdown()


def test_a_command_can_bring_the_tars(many):
    rows = blocks(many.shard, 2, 4)
    door = SequentialTars(many, 4, pipe=f"cat {many.root}/{{file}}")
    assert streamed(door, rows) == plain(many, rows)
    door.close()
    broken = SequentialTars(many, 4, pipe="exit 3; echo {file}")
    with pytest.raises(UserError, match=r"sample \d+ .* cannot be streamed from exit 3"):
        streamed(broken, rows)
    broken.close()


def test_a_stream_that_stalls_is_named_and_does_not_hold_up_closing(many):
    rows = np.flatnonzero(many.shard == 0)
    door = SequentialTars(many, 2, pipe="head -c 9000 /dev/zero; exec sleep 0.5 # {file}", silence=0.1)
    door.expect(rows)
    with pytest.raises(UserError, match=r"nothing has come for 0.1 s while sample 0 was waited for"):
        door.read(int(rows[0]))
    door.close()
    assert not streaming()


def test_tars_of_other_people_are_streamed_by_their_own_names(many, tmp_path):
    for number in range(2):
        with tarfile.open(tmp_path / f"other-{number}.tar", "w") as tar:
            for row in np.flatnonzero(many.shard == number).tolist():
                for suffix, data in (("JPG", plain(many, np.array([row]))[0]), ("cls", b"%d" % many.label[row])):
                    member = tarfile.TarInfo(f"./{many.keys[row]}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    other = index(tmp_path, workers=1)
    rows, door = np.arange(len(other)), SequentialTars(other, 2)
    assert streamed(door, rows) == plain(other, rows)
    door.close()


def test_an_order_beyond_the_window_is_refused_before_anything_is_read(many):
    door = SequentialTars(many, 2)
    with pytest.raises(UserError, match=r"needs .* side by side, a window of 2 tars holds .* take the order Blocks"):
        door.expect(np.random.default_rng(0).permutation(len(many)))
    assert not streaming()
    with pytest.raises(UserError, match="a window of 0 tars holds nothing"):
        SequentialTars(many, 0)


def test_a_row_that_was_not_expected_is_refused(many):
    rows = np.flatnonzero(many.shard == 0)
    door, other = SequentialTars(many, 2), int(np.flatnonzero(many.shard == 1)[0])
    with pytest.raises(UserError, match="was not expected: a sequential loader is told"):
        door.read(other)
    assert streamed(door, rows) == plain(many, rows)
    for row in (other, int(rows[0])):  # never, and once too often
        with pytest.raises(UserError, match=f"sample {row} was not expected, or not as often"):
            door.read(row)
    door.close()


def test_reading_in_another_order_than_was_told_ends_in_an_error(many):
    rows = np.argsort(many.shard, kind="stable")
    door = SequentialTars(many, 1)
    door.expect(rows)
    with pytest.raises(UserError, match=rf"came before sample {rows[-1]} and were not read: read in the order"):
        door.read(int(rows[-1]))
    door.close()


def name_of(manifest, row):
    return re.escape(f"sample {row} ({manifest.keys[row]}) cannot be streamed from {manifest.tars()[0]}")


@pytest.mark.parametrize("where", ["picture", "header"])
def test_a_tar_that_was_cut_off_names_the_first_sample_behind_the_cut(copy, where):
    rows = np.flatnonzero(copy.shard == 0)
    rows = rows[np.argsort(copy.offset[rows])]
    hit, at = int(rows[2]), int(copy.offset[rows[2]])
    os.truncate(copy.tars()[0], at + 100 if where == "picture" else at - 700)
    door = SequentialTars(copy, 2)
    door.expect(rows)
    assert [door.read(row) for row in rows[:2].tolist()] == plain(copy, rows[:2])
    with pytest.raises(UserError, match=rf"{name_of(copy, hit)} .*: is the tar whole\?"):
        door.read(int(rows[3]))
    door.close()
    assert not streaming()


def rewritten(path, change):
    """The same tar, each member through change(name, data) -> data or None."""
    with tarfile.open(path) as tar:
        members = [(m.name, tar.extractfile(m).read()) for m in tar]  # type: ignore
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            if (data := change(name, data)) is not None:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize("fate", ["gone", "short", "long"])
def test_a_sample_that_is_missing_or_of_another_length_is_named(copy, fate):
    rows = np.flatnonzero(copy.shard == 0)
    hit = int(rows[1])
    change = {"gone": lambda data: None, "short": lambda data: data[:-1], "long": lambda data: data + b"x"}[fate]
    rewritten(copy.tars()[0], lambda name, data: change(data) if name == f"{copy.keys[hit]}.jpg" else data)
    door = SequentialTars(copy, 2)
    cause = "is not in the tar" if fate == "gone" else r"has \d+ bytes, not \d+"
    with pytest.raises(UserError, match=rf"{name_of(copy, hit)} \(it {cause}\): is the tar whole"):
        streamed(door, rows)
    door.close()


def test_a_missing_or_foreign_tar_is_named(copy):
    rows, tar = np.flatnonzero(copy.shard == 0), copy.tars()[0]
    for cause in ("header", "No such file"):
        if cause == "No such file":
            tar.unlink()
        else:
            tar.write_bytes(b"no tar at all" * 1000)
        door = SequentialTars(copy, 2)
        with pytest.raises(UserError, match=rf"{tar}.*{cause}"):
            streamed(door, rows)
        door.close()


def test_breaking_out_of_an_epoch_leaves_no_thread_or_file_behind(many):
    files = len(os.listdir("/proc/self/fd"))
    door = SequentialTars(many, 3)
    for epoch in range(3):
        rows = blocks(many.shard, 2, epoch)
        door.expect(rows)
        assert [door.read(row) for row in rows[:7].tolist()] == plain(many, rows[:7])
    door.close()
    assert not streaming()
    assert len(os.listdir("/proc/self/fd")) == files


def test_closing_sends_whoever_waits_away(many):
    door = SequentialTars(many, 3, pipe="exec sleep 0.3 # {file}")
    door.expect(np.arange(len(many)))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(door.read, 0)
        time.sleep(0.05)
        door.close()
        with pytest.raises(UserError, match="was closed while sample 0"):
            waiting.result(5)
    assert not streaming()
