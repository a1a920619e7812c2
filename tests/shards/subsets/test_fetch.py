"""Published lists are fetched once and checked by content, from a folder, the cache or the network."""

import gzip
import hashlib
import http.server
import threading
import traceback
from types import SimpleNamespace

import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.lists import parse
from viewstream.shards.redaction import HIDDEN
from viewstream.shards.sources.source import Source
from viewstream.shards.subsets import fetch
from viewstream.shards.subsets.fetch import blob, class_listing, listing, text_of
from viewstream.shards.subsets.published import CLASSES, CLASSSETS, PUBLISHED

from ...guarded import MOST, QUERY, assert_no_secret, assert_no_secret_below, guarded
from .named import named

WNIDS = [f"n{c:08d}" for c in range(CLASSES)]
TEXT = "".join(f"/{w}/{w}_{n}.JPEG {c}\n" for c, w in enumerate(WNIDS) for n in range(1 + c % 3)).encode()
NAMED = named(WNIDS, parse(TEXT, "")[0])


@pytest.fixture
def small_list(monkeypatch, tmp_path):
    """`lt6` replaced by a small list of our own, without the user's environment."""
    small = PUBLISHED["lt6"]._replace(blob=blob(TEXT), lines=TEXT.count(b"\n"), largest=3, smallest=1)
    monkeypatch.setitem(PUBLISHED, "lt6", small)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("VIEWSTREAM_LISTS", "VIEWSTREAM_LISTS_URL", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return small


@pytest.fixture
def server(tmp_path):
    """An HTTP server on loopback for `tmp_path/www`; `requests` has the paths that were requested."""
    www = tmp_path / "www"
    www.mkdir()
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(www))

        def log_message(self, format, *args):
            requests.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield SimpleNamespace(www=www, requests=requests, url=f"http://127.0.0.1:{httpd.server_port}")
        httpd.shutdown()
        thread.join()


def test_a_blob_is_the_hash_that_git_computes():
    assert blob(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


@pytest.mark.parametrize("gzipped", [False, True])
def test_a_list_in_a_folder_may_be_plain_or_gzipped(gzipped, small_list, tmp_path, monkeypatch):
    name = small_list.file + (".gz" if gzipped else "")
    (tmp_path / name).write_bytes(gzip.compress(TEXT) if gzipped else TEXT)
    found = listing("lt6", tmp_path, NAMED)
    assert found.sha256 == hashlib.sha256(TEXT).hexdigest()
    monkeypatch.setenv("VIEWSTREAM_LISTS", str(tmp_path))
    assert listing("lt6", None, NAMED).paths == found.paths


def test_a_list_in_a_folder_may_have_its_original_name(monkeypatch, tmp_path):
    small = PUBLISHED["lt"]._replace(blob=blob(TEXT))
    assert small.original == "ImageNet_LT_train.txt"
    (tmp_path / small.original).write_bytes(TEXT)
    assert text_of(small, tmp_path) == TEXT


def test_a_missing_or_changed_list_is_an_error(small_list, tmp_path):
    with pytest.raises(UserError, match=r"has no imagenet_lt6_train.txt .*--draw-subset"):
        listing("lt6", tmp_path, NAMED)
    (tmp_path / small_list.file).write_bytes(TEXT.replace(b" 5\n", b" 6\n", 1))
    with pytest.raises(UserError, match="is not the published list"):
        listing("lt6", tmp_path, NAMED)
    (tmp_path / small_list.file).unlink()
    (tmp_path / f"{small_list.file}.gz").write_bytes(gzip.compress(TEXT)[:99])
    with pytest.raises(UserError, match="is damaged"):
        listing("lt6", tmp_path, NAMED)


def test_a_list_is_fetched_once_and_then_read_from_the_cache(small_list, server, monkeypatch):
    monkeypatch.setenv("VIEWSTREAM_LISTS_URL", server.url)
    (server.www / small_list.file).write_bytes(TEXT)
    first, second = listing("lt6", None, NAMED), listing("lt6", None, NAMED)
    assert first.paths == second.paths
    assert server.requests == [f"/{small_list.file}"]


def test_a_mirror_uses_our_file_names_and_the_authors_the_original_ones(small_list, server, monkeypatch):
    authors = PUBLISHED["lt"]._replace(blob=blob(TEXT), base=server.url)
    (server.www / authors.original).write_bytes(TEXT)
    assert text_of(authors, None) == TEXT
    monkeypatch.setenv("VIEWSTREAM_LISTS_URL", server.url)
    (server.www / small_list.file).write_bytes(TEXT)
    assert text_of(small_list._replace(original="other"), None) == TEXT
    assert server.requests == ["/ImageNet_LT_train.txt", f"/{small_list.file}"]


def test_a_failed_fetch_names_both_remedies(small_list, server, monkeypatch, tmp_path):
    monkeypatch.setenv("VIEWSTREAM_LISTS_URL", server.url)
    both = r"--lists DIR.*--draw-subset"
    with pytest.raises(UserError, match=f"404.*{both}"):
        listing("lt6", None, NAMED)
    (server.www / small_list.file).write_bytes(b"<html>not here</html>")
    with pytest.raises(UserError, match=f"sent another file.*{both}"):
        listing("lt6", None, NAMED)
    monkeypatch.setenv("VIEWSTREAM_LISTS_URL", "http://127.0.0.1:1")
    with pytest.raises(UserError, match=f"cannot fetch.*{both}"):
        listing("lt6", None, NAMED)
    with pytest.raises(UserError, match=r"cannot fetch.*--lists DIR.*--split val"):
        text_of(PUBLISHED["lt-test"], None)
    assert not list((tmp_path / "cache").rglob("*.txt*"))


def test_a_list_that_asks_for_login_and_token_is_fetched_and_no_error_shows_them(small_list, tmp_path, monkeypatch):
    (tmp_path / small_list.file).write_bytes(TEXT)
    with guarded(tmp_path) as server:
        monkeypatch.setenv("VIEWSTREAM_LISTS_URL", f"{server.url}{QUERY}")
        for kind in ("500", f"ftp://h/{QUERY}"):
            server.faults = {small_list.file: kind}
            with pytest.raises(UserError, match="cannot fetch") as caught:
                listing("lt6", None, NAMED)
            assert HIDDEN in str(caught.value)
            assert_no_secret(*traceback.format_exception(caught.value))
        server.faults = {}
        assert listing("lt6", None, NAMED).sha256 == hashlib.sha256(TEXT).hexdigest()
    assert_no_secret_below(tmp_path / "cache")


def test_a_list_without_end_stops_at_a_limit(small_list, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "LONGEST", 1 << 20)
    with guarded(tmp_path, ask=False) as server:
        monkeypatch.setenv("VIEWSTREAM_LISTS_URL", server.open)
        server.faults = {small_list.file: "endless"}
        with pytest.raises(UserError, match="the server sends more than 1,048,576 bytes"):
            listing("lt6", None, NAMED)
        assert server.sent < 1 << 24 < MOST


@pytest.mark.parametrize("scheme", ["file", "ftp", "gopher"])
def test_a_list_that_moved_to_another_scheme_is_refused(small_list, tmp_path, monkeypatch, scheme):
    (tmp_path / small_list.file).write_bytes(TEXT)
    with guarded(tmp_path, ask=False) as server:
        monkeypatch.setenv("VIEWSTREAM_LISTS_URL", server.open)
        server.faults = {small_list.file: f"{scheme}://{tmp_path}/{small_list.file}"}
        with pytest.raises(UserError, match=rf"cannot fetch .*302.*{scheme}://"):
            listing("lt6", None, NAMED)


def test_a_list_for_other_classes_is_refused_with_a_remedy(small_list, tmp_path):
    (tmp_path / small_list.file).write_bytes(TEXT)
    few = Source("pets", "train", NAMED.reader, ("cat", "dog"), NAMED.label[:2], ["cat/1", "dog/1"], [])
    others = Source("made", "train", NAMED.reader, tuple(f"o{w}" for w in WNIDS), NAMED.label, NAMED.paths, [])
    for source in (few, others):
        with pytest.raises(UserError, match=r"1000 classes.*--draw-subset draws the same shape from these"):
            listing("lt6", tmp_path, source)
    with pytest.raises(UserError, match=r"pets has 2 \(cat, dog, ...\): name a list of these with --subset FILE"):
        listing("100kp", tmp_path, few)


def test_the_published_class_sets_pass_their_check(shared):
    halves = [class_listing(name, shared / "lists")[0] for name in CLASSSETS]
    assert [len(half) for half in halves] == [500] * 4
    assert set(halves[0]) | set(halves[1]) == set(halves[2]) | set(halves[3])
