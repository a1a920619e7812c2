"""Readers to remote tars, and what they fetched."""

import hashlib

from viewstream.pipeline.readers.fetch import RetryPolicy
from viewstream.pipeline.readers.remote import AHEAD, RemoteTarReader, open_remote
from viewstream.shards.formats.read import open_tar

QUICK = RetryPolicy(pauses=(0.01, 0.02, 0.04), read_timeout=0.3)


def opened(server, folder, limit=10**9, ahead=AHEAD):
    return RemoteTarReader(open_remote(server.url, folder, limit, QUICK), ahead, QUICK)


def assert_same(reader, manifest, rows=None):
    plain = open_tar(manifest)
    for row in range(len(manifest)) if rows is None else rows:
        assert reader.read(int(row)) == plain.read(int(row))
    plain.close()


def cached(folder):
    """Names of whole files."""
    return {p.name for p in (folder / "tars").iterdir() if "." not in p.name}


def assert_sound(folder, manifest):
    """Every file in the cache is one of the set's tars, whole; nothing else lies there."""
    good = {hashlib.sha256(tar.read_bytes()).digest() for tar in manifest.tars()}
    for path in (folder / "tars").iterdir():
        assert path.name == ".alone" or hashlib.sha256(path.read_bytes()).digest() in good
