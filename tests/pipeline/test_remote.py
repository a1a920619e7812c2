"""Sets behind a URL: the same bytes, whatever the server does; a cache that is never poisoned and never too large."""

import hashlib
import http.server
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest

from viewstream.pipeline.fetch import Patience
from viewstream.pipeline.remote import AHEAD, RemoteTars, open_remote
from viewstream.pipeline.visits import visits
from viewstream.shards.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.read import open_tar

QUICK = Patience(pauses=(0.01, 0.02, 0.04), silence=0.3)


@pytest.fixture(scope="module")
def many(pets, tmp_path_factory):
    """The pets in several small tars."""
    out = tmp_path_factory.mktemp("sets") / "many"
    made = build(BuildOptions(source=pets, out=out, format=("webdataset",), shard_size="60KB", workers=1))
    assert len(made.tars()) > 5
    return made


class Moody(http.server.SimpleHTTPRequestHandler):
    """Sends whole files; `faults` {name: kinds} says what goes wrong, a kind a request; `asked` counts requests."""

    def do_GET(self):
        name = self.path.rpartition("/")[2]
        self.server.asked.append(name)
        kinds = self.server.faults.get(name, [])
        data = (Path(self.directory) / name).read_bytes() if (Path(self.directory) / name).exists() else None
        kind = kinds.pop(0) if kinds else ""
        if data is None or kind in ("500", "403"):
            return self.send_error(int(kind or 404))
        half = len(data) // 2
        body = {"drop": data[:half], "stall": data[:half], "short": data[:half], "long": data + b"more"}.get(kind, data)
        if kind == "flip":
            body = data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]
        self.send_response(200)
        self.send_header("Content-Length", str(len(data) if kind in ("drop", "stall") else len(body)))
        self.end_headers()
        self.wfile.write(body)
        if kind == "stall":
            self.server.over.wait(10)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(many):
    """A server of that set."""
    made = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0),
        lambda *a: Moody(*a, directory=str(many.root)),  # type: ignore
    )
    made.asked, made.faults, made.over = [], {}, threading.Event()
    made.url = f"http://127.0.0.1:{made.server_port}/many"
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.over.set()
    made.shutdown()
    made.server_close()


def opened(server, folder, limit=10**9, ahead=AHEAD):
    return RemoteTars(open_remote(server.url, folder, limit, QUICK), ahead, QUICK)


def assert_same(door, manifest, rows=None):
    plain = open_tar(manifest)
    for row in range(len(manifest)) if rows is None else rows:
        assert door.read(int(row)) == plain.read(int(row))
    plain.close()


def cached(folder):
    """Names of whole files."""
    return {p.name for p in (folder / "tars").iterdir() if "." not in p.name}


def assert_sound(folder, manifest):
    """Every file in the cache is one of the set's tars, whole; nothing else lies there."""
    good = {hashlib.sha256(tar.read_bytes()).digest() for tar in manifest.tars()}
    for path in (folder / "tars").iterdir():
        assert path.name == ".alone" or hashlib.sha256(path.read_bytes()).digest() in good


def test_a_remote_set_reads_the_same_bytes_and_fetches_each_tar_once(server, many, tmp_path):
    door = opened(server, tmp_path)
    assert door.manifest.info == many.info
    assert door.place(5) == f"{server.url}/{many.tars()[many.shard[5]].name} at byte {many.offset[5]}"
    with ThreadPoolExecutor(8) as pool:
        pool.map(door.read, range(len(many)))
    assert_same(door, many)
    door.close()
    again = opened(server, tmp_path)
    assert_same(again, many)
    again.close()
    tars = [name for name in server.asked if name.endswith(".tar")]
    assert sorted(tars) == sorted(tar.name for tar in many.tars())
    assert server.asked.count("manifest.parquet") == 1


def test_any_file_system_of_fsspec_will_do(many, tmp_path):
    store = fsspec.filesystem("memory")
    store.put(str(many.root), "/many", recursive=True)
    try:
        door = RemoteTars(open_remote("memory://many", tmp_path))
        door.expect(np.arange(len(many)))
        assert_same(door, many)
        door.close()
    finally:
        store.rm("/many", recursive=True)


@pytest.mark.parametrize("kind", ["500", "drop", "stall", "short", "long", "flip"])
def test_what_goes_wrong_for_a_moment_is_tried_again(server, many, tmp_path, kind):
    tar = many.tars()[many.shard[0]].name
    server.faults = {"dataset.json": ["500"], "manifest.parquet": [kind], tar: [kind, kind]}
    door = opened(server, tmp_path)
    assert_same(door, many, [0])
    door.close()
    assert server.asked.count(tar) == 3
    assert server.asked.count("manifest.parquet") == 2
    assert_sound(tmp_path, many)


@pytest.mark.parametrize(
    ("kind", "cause"),
    [("500", "500"), ("drop", "Payload"), ("short", "bytes, not"), ("long", "bytes, not"), ("flip", "digest")],
)
def test_what_stays_wrong_is_said_in_a_line_and_leaves_nothing(server, many, tmp_path, kind, cause):
    door = opened(server, tmp_path)
    tar = many.tars()[many.shard[0]].name
    server.faults = {tar: [kind] * 4}
    with pytest.raises(UserError, match=rf"{server.url}/{tar} .*4 tries .*{cause}.*: try again") as caught:
        door.read(0)
    assert "\n" not in str(caught.value)
    assert not cached(tmp_path)
    assert_sound(tmp_path, many)
    assert_same(door, many, [0])  # and once the server is well, so is the door
    door.close()


def test_what_will_not_be_better_next_time_is_not_tried_again(server, many, tmp_path):
    server.faults = {"dataset.json": ["403"]}
    with pytest.raises(UserError, match=r"dataset.json may not be read"):
        open_remote(server.url, tmp_path, patience=QUICK)
    gone = replace(QUICK, pauses=(60.0,))
    door = RemoteTars(open_remote(server.url, tmp_path, patience=gone), 0, gone)
    door.lines[0] = {**door.lines[0], "file": "gone.tar"}
    row = int(np.flatnonzero(many.shard == 0)[0])
    with pytest.raises(UserError, match=r"gone.tar is not there: is the whole set uploaded"):
        door.read(row)
    door.close()


def test_a_manifest_that_is_not_what_its_page_says_is_refused(server, many, tmp_path):
    server.faults = {"manifest.parquet": ["flip"] * 4}
    with pytest.raises(
        UserError, match=r"manifest.parquet could not be fetched .*sha256 is not what dataset.json says"
    ):
        open_remote(server.url, tmp_path, patience=QUICK)
    server.faults = {"dataset.json": ["short"] * 4}
    with pytest.raises(UserError, match=r"dataset.json could not be fetched .*damaged"):
        open_remote(server.url, tmp_path, patience=QUICK)
    assert not list(tmp_path.rglob("dataset.json"))


def test_a_local_path_and_a_local_set_are_told_apart_from_remote_ones(many, tmp_path):
    with pytest.raises(UserError, match="is no URL"):
        open_remote(str(many.root), tmp_path)
    with pytest.raises(UserError, match="is a local set"):
        RemoteTars(many)


def test_a_set_that_was_built_anew_replaces_the_cached_one(pets, tmp_path):
    def make(quality):
        out = tmp_path / f"q{quality}"
        return build(BuildOptions(source=pets, out=out, format=("webdataset",), quality=quality, workers=1))

    store = fsspec.filesystem("memory")
    for made in (make(90), make(60)):
        store.put(str(made.root), "/anew", recursive=True)
        door = RemoteTars(open_remote("memory://anew", tmp_path / "cache"))
        assert_same(door, made)
        door.close()
        store.rm("/anew", recursive=True)


def test_tars_are_fetched_ahead_in_order_and_not_further_than_told(server, many, tmp_path):
    door = opened(server, tmp_path, ahead=2)
    rows = np.argsort(many.shard, kind="stable")[::-1]
    names = [many.tars()[shard].name for shard in visits(many.shard[rows]).shard]
    server.asked.clear()
    door.expect(rows)
    deadline = time.monotonic() + 5
    while len(server.asked) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert server.asked == names[:3]
    assert_same(door, many, rows)
    assert server.asked == names
    door.close()


def test_a_new_epoch_and_closing_end_the_reading_ahead(server, many, tmp_path):
    door = opened(server, tmp_path)
    before, rows = threading.active_count(), np.argsort(many.shard, kind="stable")
    server.faults = {many.tars()[0].name: ["stall"]}
    door.expect(rows)
    time.sleep(0.05)
    door.expect(rows[::-1])  # while the first tar stalls
    assert_same(door, many, rows[::-1][:20])
    door.close()
    ours = [t for t in threading.enumerate() if t.name == "viewstream-fetch"]
    assert not ours, threading.active_count() - before


def test_an_error_ahead_is_told_to_who_reads_the_row_and_to_nobody_else(server, many, tmp_path):
    door = opened(server, tmp_path)
    rows = np.argsort(many.shard, kind="stable")
    bad = many.tars()[1].name
    server.faults = {bad: ["flip"] * 100}
    door.expect(rows)
    assert_same(door, many, rows[many.shard[rows] != 1])
    with pytest.raises(UserError, match=bad):
        door.read(int(rows[many.shard[rows] == 1][0]))
    door.close()


def test_an_order_that_needs_more_tars_side_by_side_than_the_cache_holds_is_refused(server, many, tmp_path):
    sizes = [tar.stat().st_size for tar in many.tars()]
    door = opened(server, tmp_path, limit=2 * max(sizes))
    with pytest.raises(UserError, match=r"needs [\d,]+ bytes of tars side by side, the cache holds"):
        door.expect(np.random.default_rng(0).permutation(len(many)))
    door.close()
    small = opened(server, tmp_path, limit=min(sizes) - 1)
    with pytest.raises(UserError, match="does not fit into a cache of"):
        small.read(0)
    small.close()


def test_a_cache_smaller_than_the_set_stays_in_its_limit_and_reads_the_same(server, many, tmp_path):
    limit = 3 * max(tar.stat().st_size for tar in many.tars())
    door = opened(server, tmp_path, limit)
    rows, largest = np.argsort(many.shard, kind="stable"), 0
    door.expect(rows)
    plain = open_tar(many)
    for row in rows.tolist():
        assert door.read(row) == plain.read(row)
        largest = max(largest, sum(p.stat().st_size for p in (tmp_path / "tars").glob("?" * 64) if p.exists()))
    door.close()
    plain.close()
    assert 0 < largest <= limit
    assert len([name for name in server.asked if name.endswith(".tar")]) == len(many.tars())
    assert_sound(tmp_path, many)


READ_ALL = """
import hashlib, sys
import numpy as np
from viewstream.pipeline.remote import RemoteTars, open_remote
url, folder, limit, seed = sys.argv[1:]
door = RemoteTars(open_remote(url, folder, int(limit)))
m = door.manifest
order = np.random.default_rng(int(seed)).permutation(len(m.tars()))
rows = np.concatenate([np.flatnonzero(m.shard == shard) for shard in order])
door.expect(rows)
total = hashlib.sha256()
for row, data in sorted((row, door.read(row)) for row in rows.tolist()):
    total.update(data)
door.close()
print(total.hexdigest())
"""


@pytest.mark.full
@pytest.mark.parametrize("room", [3, 1000])
def test_processes_share_a_cache_and_fetch_each_tar_once_where_it_holds_the_set(server, many, tmp_path, room):
    limit = room * max(tar.stat().st_size for tar in many.tars())
    seeds = range(3)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", READ_ALL, server.url, str(tmp_path), str(limit), str(seed)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in seeds
    ]
    plain, want = open_tar(many), hashlib.sha256()
    for row in range(len(many)):
        want.update(plain.read(row))
    plain.close()
    assert [p.communicate(timeout=120)[0].strip() for p in started] == [want.hexdigest()] * len(seeds)
    assert_sound(tmp_path, many)
    tars = [name for name in server.asked if name.endswith(".tar")]
    if room == 1000:
        assert sorted(tars) == sorted(tar.name for tar in many.tars())
    assert json.loads((next(tmp_path.glob("many-*")) / "remote.json").read_text())["limit"] == limit


@pytest.mark.full
def test_a_process_killed_while_it_fetches_leaves_the_cache_sound(server, many, tmp_path):
    server.faults = {many.tars()[many.shard[0]].name: ["stall"]}
    words = [sys.executable, "-c", READ_ALL, server.url, str(tmp_path), "1000000", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("tars/*.partial")) and time.monotonic() < deadline:
            time.sleep(0.001)
        process.kill()
    server.faults = {}
    door = opened(server, tmp_path)
    assert_same(door, many)
    door.close()
    assert_sound(tmp_path, many)
