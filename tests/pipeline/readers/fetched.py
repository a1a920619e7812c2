"""Readers for remote tars, and checks of what they fetched."""

import hashlib

import numpy as np

from viewstream.pipeline.readers.fetch import RetryPolicy
from viewstream.pipeline.readers.remote import open_remote
from viewstream.pipeline.readers.remote_tar import AHEAD, RemoteTarReader
from viewstream.shards.formats.read import open_tar

QUICK = RetryPolicy(pauses=(0.01, 0.02, 0.04), read_timeout=0.3)


def opened(server, folder, limit=10**9, ahead=AHEAD):
    return RemoteTarReader(open_remote(server.url, folder, limit, QUICK), ahead, QUICK)


def first_of(url, folder):
    """A sample of the first tar of a set."""
    reader = RemoteTarReader(open_remote(url, folder, retry=QUICK), retry=QUICK)
    return reader.read(int(np.flatnonzero(reader.manifest.shard == 0)[0]))


def assert_same(reader, manifest, rows=None):
    with open_tar(manifest) as plain:
        for row in range(len(manifest)) if rows is None else rows:
            assert reader.read(int(row)) == plain.read(int(row))


def cached(folder):
    """Names of complete files."""
    return {p.name for p in (folder / "tars").iterdir() if "." not in p.name}


def assert_sound(folder, manifest):
    """The cache holds only complete tars of the set."""
    good = {hashlib.sha256(tar.read_bytes()).digest() for tar in manifest.tars()}
    for path in (folder / "tars").iterdir():
        assert path.name == ".alone" or hashlib.sha256(path.read_bytes()).digest() in good
