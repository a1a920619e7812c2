"""Published lists are checked by content, wherever they come from, and fetched once."""

import gzip
import hashlib
import http.server
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.lists import parse
from viewstream.shards.sources.imagefolder import Files
from viewstream.shards.sources.source import Source
from viewstream.shards.subsets import published
from viewstream.shards.subsets.published import CLASSSETS, PUBLISHED, blob, class_listing, listing, text_of

WNIDS = [f"n{c:08d}" for c in range(published.CLASSES)]
TEXT = "".join(f"/{w}/{w}_{n}.JPEG {c}\n" for c, w in enumerate(WNIDS) for n in range(1 + c % 3)).encode()
NAMED = Source("made", "train", Files(Path("nowhere")), tuple(WNIDS), parse(TEXT, "")[1], *[parse(TEXT, "")[0]] * 2)


@pytest.fixture
def small_list(monkeypatch, tmp_path):
    """`lt6` stands for a small list that we may write ourselves; nothing of the user's environment gets in."""
    small = PUBLISHED["lt6"]._replace(blob=blob(TEXT), lines=TEXT.count(b"\n"), most=3, least=1)
    monkeypatch.setitem(PUBLISHED, "lt6", small)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("VIEWSTREAM_LISTS", "VIEWSTREAM_LISTS_URL", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return small


@pytest.fixture
def server(tmp_path):
    """A real HTTP server on loopback for `tmp_path/www`; `asked` holds the paths it was asked for."""
    www = tmp_path / "www"
    www.mkdir()
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(www))

        def log_message(self, format, *args):
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield SimpleNamespace(www=www, asked=asked, url=f"http://127.0.0.1:{httpd.server_port}")
        httpd.shutdown()
        thread.join()


def test_git_names_a_file_as_we_do():
    assert blob(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


@pytest.mark.parametrize("packed", [False, True])
def test_a_list_is_taken_from_a_folder_plain_or_packed(packed, small_list, tmp_path, monkeypatch):
    name = small_list.file + (".gz" if packed else "")
    (tmp_path / name).write_bytes(gzip.compress(TEXT) if packed else TEXT)
    found = listing("lt6", tmp_path, NAMED)
    assert found.sha256 == hashlib.sha256(TEXT).hexdigest()
    monkeypatch.setenv("VIEWSTREAM_LISTS", str(tmp_path))
    assert listing("lt6", None, NAMED).paths == found.paths


def test_a_list_may_have_the_name_that_its_authors_gave_it(monkeypatch, tmp_path):
    small = PUBLISHED["lt"]._replace(blob=blob(TEXT))
    assert small.there == "ImageNet_LT_train.txt"
    (tmp_path / small.there).write_bytes(TEXT)
    assert text_of(small, tmp_path) == TEXT


def test_another_file_under_a_lists_name_is_refused(small_list, tmp_path):
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
    assert server.asked == [f"/{small_list.file}"]


def test_authors_have_the_list_under_their_own_name_and_a_mirror_under_ours(small_list, server, monkeypatch):
    theirs = PUBLISHED["lt"]._replace(blob=blob(TEXT), base=server.url)
    (server.www / theirs.there).write_bytes(TEXT)
    assert text_of(theirs, None) == TEXT
    monkeypatch.setenv("VIEWSTREAM_LISTS_URL", server.url)
    (server.www / small_list.file).write_bytes(TEXT)
    assert text_of(small_list._replace(there="other"), None) == TEXT
    assert server.asked == ["/ImageNet_LT_train.txt", f"/{small_list.file}"]


def test_a_wrong_answer_or_none_names_both_remedies(small_list, server, monkeypatch, tmp_path):
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


def test_a_list_for_other_classes_suggests_what_else_can_be_done(small_list, tmp_path):
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
