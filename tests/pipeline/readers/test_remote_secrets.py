"""Sets that ask for a login and a token: they are read, and no message, file or traceback shows the secrets."""

import json
import pickle
import traceback

import numpy as np
import pytest

from viewstream.pipeline.choose import open_set
from viewstream.pipeline.readers.remote import ORIGIN, open_remote
from viewstream.pipeline.readers.remote_tar import RemoteTarReader
from viewstream.pipeline.readers.sequential import SequentialTarReader
from viewstream.shards.errors import UserError
from viewstream.shards.redaction import HIDDEN

from ...guarded import QUERY, assert_no_secret, assert_no_secret_below, guarded
from .fetched import QUICK, assert_same, first_of


@pytest.fixture
def server(many):
    with guarded(many.root.parent) as running:
        yield running


@pytest.fixture
def url(server, many):
    return f"{server.url}/{many.root.name}{QUERY}"


def test_a_set_that_asks_for_login_and_token_is_read_by_every_reader_of_tars(url, many, tmp_path):
    manifest = pickle.loads(pickle.dumps(open_set(url, cache=tmp_path)))
    for reader in (RemoteTarReader(manifest), SequentialTarReader(manifest)):
        reader.prefetch(iter([np.arange(len(many))]))
        assert_same(reader, many)
        assert_no_secret(reader.locate(5), repr(reader.manifest))
        reader.close()
    assert_no_secret_below(tmp_path)


def test_a_new_login_or_signature_finds_the_same_cache(server, url, many, tmp_path):
    first = open_remote(url, tmp_path, retry=QUICK)
    server.guarded = False
    again = open_remote(f"{server.open}/{many.root.name}/", tmp_path, retry=QUICK)
    assert first.root == again.root
    assert first.root.name.startswith("many-")


def test_a_set_that_is_opened_by_its_cache_says_that_its_url_is_needed(url, many, tmp_path):
    root = open_remote(url, tmp_path, retry=QUICK).root
    assert HIDDEN in json.loads((root / ORIGIN).read_text())["url"]
    with pytest.raises(UserError, match="no file holds what is hidden: open it by its URL"):
        RemoteTarReader(type(many).open(root))


@pytest.mark.parametrize("kind", ["401", "404", "500", "file:///etc/hostname", "gone"])
@pytest.mark.parametrize("name", ["dataset.json", "manifest.parquet", "tar"])
def test_no_fault_of_a_server_shows_the_secrets(server, url, many, tmp_path, kind, name):
    tar = many.tars()[0].name
    moved = f"http://{server.url.partition('://')[2]}/nowhere{QUERY}" if kind == "gone" else kind
    server.faults = {tar if name == "tar" else name: moved}
    with pytest.raises(UserError) as caught:
        first_of(url, tmp_path)
    assert HIDDEN in str(caught.value)
    assert_no_secret(*traceback.format_exception(caught.value))
    assert_no_secret_below(tmp_path)


@pytest.mark.parametrize(
    ("url", "fact"),
    [
        ("gopher://someone:hunter2@h/x", "is no address that can be read"),
        ("http://someone:hunter2@127.0.0.1:1/x?sig=s3cr3t", "could not be fetched"),
        ("http://someone:hunter2/@h", "is no address: write / . and # in a password as %2F"),
        ("http://someone:hunter2?@h", "is no address"),
    ],
)
def test_an_address_that_cannot_be_read_is_shown_without_its_password(url, fact, tmp_path):
    with pytest.raises(UserError, match=fact) as caught:
        open_remote(url, tmp_path, retry=QUICK)
    assert_no_secret(*traceback.format_exception(caught.value))
