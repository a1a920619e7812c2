"""Reads from a real S3 through a faulty proxy: the right bytes or one clear line, and never a bad file in the cache."""

import hashlib
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest

from viewstream.pipeline.readers.fetch import RemoteStore, RetryPolicy
from viewstream.pipeline.readers.ranged import RangedReader
from viewstream.pipeline.readers.remote import open_remote
from viewstream.pipeline.readers.remote_tar import RemoteTarReader
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.formats.read import open_tar
from viewstream.shards.manifest import Manifest
from viewstream.shards.sources import retry, servers
from viewstream.shards.sources.remote import Remote

from .proxy import Proxy

pytestmark = pytest.mark.full
QUICK = RetryPolicy(pauses=(0.01, 0.02, 0.04), read_timeout=0.5)
PATIENT = RetryPolicy(pauses=(0.01,) * 12, read_timeout=0.5)


@pytest.fixture(scope="module")
def many(pets, tmp_path_factory) -> Manifest:
    out = tmp_path_factory.mktemp("sets") / "many"
    return build(BuildOptions(source=pets, out=out, format=("webdataset",), shard_size="60KB", workers=1))


@pytest.fixture
def stored(many, bucket, faulty) -> str:
    """The URL of the set `many` in the bucket, through the proxy."""
    fs, root = servers.file_system(f"{bucket}/many")
    if not fs.exists(f"{root}/dataset.json"):
        fs.put(str(many.root), root, recursive=True)
    faulty.asked.clear()
    return f"{bucket}/many"


def assert_right(reader, many, rows=None):
    with open_tar(many) as plain, closing(reader):
        for row in range(len(many)) if rows is None else rows:
            assert reader.read(int(row)) == plain.read(int(row))


def assert_sound(folder, many):
    """The cache holds complete tars of the set, nothing else."""
    good = {hashlib.sha256(tar.read_bytes()).digest() for tar in many.tars()}
    for path in folder.glob("tars/*"):
        assert path.name == ".alone" or hashlib.sha256(path.read_bytes()).digest() in good


def first(proxy: Proxy, fault: str, name: str, times: int) -> None:
    """The first requests for an object of this name meet a fault."""
    left = [fault] * times
    proxy.choose = lambda method, path: left.pop(0) if left and name in path else ""


def test_a_set_is_opened_and_read_by_one_request_for_each_file_and_no_listing(stored, many, faulty, tmp_path):
    assert_right(RemoteTarReader(open_remote(stored, tmp_path, retry=QUICK), retry=QUICK), many)
    files = ["dataset.json", "manifest.parquet", *(tar.name for tar in many.tars())]
    assert Counter(faulty.asked) == Counter(("GET", f"/bucket/many/{name}", "") for name in files)


@pytest.mark.parametrize("fault", ["500", "drop", "stall"])
def test_a_try_is_one_request(stored, faulty, tmp_path, fault):
    faulty.choose = lambda method, path: fault
    with pytest.raises(UserError, match=r"many/dataset.json could not be fetched in 4 tries") as caught:
        open_remote(stored, tmp_path, retry=QUICK)
    assert "\n" not in str(caught.value)
    assert len(faulty.asked) == 4


@pytest.mark.parametrize("fault", ["503", "429"])
def test_a_bucket_that_throttles_costs_no_try(stored, many, faulty, tmp_path, monkeypatch, fault):
    monkeypatch.setattr(retry, "FIRST", 0.01)
    first(faulty, fault, "", 20)
    assert open_remote(stored, tmp_path, retry=RetryPolicy(())).identity == many.identity
    assert len(faulty.asked) == 22
    first(faulty, fault, "", 6)
    files = Remote(stored)
    assert files.size("dataset.json") == (many.root / "dataset.json").stat().st_size
    assert files.exists("manifest.parquet")
    assert {entry.name for entry in files.entries()} >= {"dataset.json", "manifest.parquet"}


def test_retry_after_is_honored_and_a_bucket_that_throttles_for_too_long_is_one_line(stored, faulty, tmp_path):
    faulty.retry_after = "1"
    first(faulty, "503", "dataset.json", 1)
    began = time.monotonic()
    open_remote(stored, tmp_path, retry=QUICK)
    assert time.monotonic() - began >= 1
    faulty.choose = lambda method, path: "503"
    with pytest.raises(UserError, match=r"^s3://bucket has refused requests for 2 seconds .*503.*: try again later"):
        open_remote(stored, tmp_path, retry=RetryPolicy(patience=2))


@pytest.mark.parametrize("fault", ["drop", "stall", "trickle", "short", "long", "flip", "lost", "cut", "500", "503"])
def test_a_fault_that_passes_costs_a_try(stored, many, faulty, tmp_path, monkeypatch, fault):
    monkeypatch.setattr(retry, "FIRST", 0.01)
    tar, rows = many.tars()[0].name, np.flatnonzero(many.shard == 0)
    first(faulty, fault, tar, 3)
    assert_right(RemoteTarReader(open_remote(stored, tmp_path, retry=QUICK), retry=QUICK), many, rows)
    assert_sound(tmp_path, many)
    first(faulty, fault, tar, 3)
    assert_right(RangedReader(open_remote(stored, tmp_path, retry=QUICK), "webdataset", QUICK), many, rows)


@pytest.mark.parametrize("fault", ["drop", "stall", "short", "long", "flip", "lost", "cut", "500"])
def test_a_fault_that_lasts_is_one_line_and_leaves_no_file(stored, many, faulty, tmp_path, fault):
    manifest, row = open_remote(stored, tmp_path, retry=QUICK), int(np.flatnonzero(many.shard == 0)[0])
    faulty.choose = lambda method, path: fault
    readers = RemoteTarReader(manifest, retry=QUICK), RangedReader(manifest, "webdataset", QUICK)
    for reader in readers:
        with closing(reader), pytest.raises(UserError, match=r"tar could not be fetched in 4 tries") as caught:
            reader.read(row)
        assert "\n" not in str(caught.value)
    assert not [path for path in tmp_path.glob("tars/*") if path.name != ".alone"]


def test_a_bucket_without_rights_is_refused_at_once(stored, faulty, tmp_path):
    faulty.choose = lambda method, path: "403"
    with pytest.raises(UserError, match=r"dataset.json may not be read \(.*Access Denied.*\): check"):
        open_remote(stored, tmp_path)
    assert len(faulty.asked) == 1


@pytest.mark.parametrize("seed", range(8))
def test_with_random_faults_every_image_is_right(stored, many, faulty, tmp_path, monkeypatch, seed):
    monkeypatch.setattr(retry, "FIRST", 0.01)
    faulty.seeded(seed, 0.3)
    manifest = open_remote(stored, tmp_path, retry=PATIENT)
    for reader in (RemoteTarReader(manifest, retry=PATIENT), RangedReader(manifest, "webdataset", PATIENT)):
        reader.prefetch(iter([np.arange(len(many))]))
        assert_right(reader, many)
    assert sum(fault != "" for *_, fault in faulty.asked) > 10
    assert_sound(tmp_path, many)


def test_a_process_has_a_limited_number_of_connections_to_a_bucket(stored, faulty, monkeypatch):
    monkeypatch.setattr(servers, "CONNECTIONS", 4)
    files = RemoteStore(stored, RetryPolicy(read_timeout=31.0))  # a file system of its own, made under this limit
    with ThreadPoolExecutor(24) as pool:
        assert len(set(pool.map(lambda _: files.read("dataset.json"), range(60)))) == 1
    assert 1 < faulty.most <= 4 + 1  # the one of the fixture is still open
