"""Published lists are checked by content, wherever they come from; drawn ones are nested and have the right counts."""

import gzip
import hashlib
import http.server
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from viewstream.shards import lists, subsets
from viewstream.shards.errors import UserError
from viewstream.shards.lists import PUBLISHED, listing, parse
from viewstream.shards.source import Source
from viewstream.shards.sources.imagefolder import Files
from viewstream.shards.subsets import IMAGENET_CLASSES, drawn_counts, subset

WNIDS = [f"n{c:08d}" for c in range(IMAGENET_CLASSES)]
TEXT = "".join(f"/{w}/{w}_{n}.JPEG {c}\n" for c, w in enumerate(WNIDS) for n in range(1 + c % 3)).encode()
ASIDE = {"draw": False, "lists": None, "allow_missing": False, "seed": 0}


def source(classes: list[str], counts: list[int]) -> Source:
    """A source of names only."""
    paths = [f"{c}/{c}_{n}.JPEG" for c, count in zip(classes, counts, strict=True) for n in range(count)]
    label = np.repeat(np.arange(len(classes)), counts)
    return Source("made", "train", Files(Path("nowhere")), tuple(classes), label, paths, paths)


@pytest.fixture
def small_list(monkeypatch, tmp_path):
    """`lt6` stands for a small list that we may write ourselves; nothing of the user's environment gets in."""
    small = PUBLISHED["lt6"]._replace(blob=lists.blob(TEXT), lines=TEXT.count(b"\n"), most=3, least=1)
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
    assert lists.blob(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_all_three_spellings_of_a_path_mean_class_and_file():
    paths, label = parse(b"train/a/1.JPEG 0\n/a/2.JPEG 0 extra\nb/3.JPEG 1\n", "list")
    assert paths == ["a/1.JPEG", "a/2.JPEG", "b/3.JPEG"]
    assert label.tolist() == [0, 0, 1]
    with pytest.raises(UserError, match=r"list line 2 is 'b/2.JPEG', not `path label`"):
        parse(b"a/1.JPEG 0\nb/2.JPEG\n", "list")


@pytest.mark.parametrize("packed", [False, True])
def test_a_list_is_taken_from_a_folder_plain_or_packed(packed, small_list, tmp_path, monkeypatch):
    name = small_list.file + (".gz" if packed else "")
    (tmp_path / name).write_bytes(gzip.compress(TEXT) if packed else TEXT)
    found = listing("lt6", tmp_path)
    assert found.sha256 == hashlib.sha256(TEXT).hexdigest()
    monkeypatch.setenv("VIEWSTREAM_LISTS", str(tmp_path))
    assert listing("lt6", None).paths == found.paths


def test_another_file_under_a_lists_name_is_refused(small_list, tmp_path):
    with pytest.raises(UserError, match=r"has no imagenet_lt6_train.txt .*--draw-subset"):
        listing("lt6", tmp_path)
    (tmp_path / small_list.file).write_bytes(TEXT.replace(b" 5\n", b" 6\n", 1))
    with pytest.raises(UserError, match="is not the published list"):
        listing("lt6", tmp_path)
    (tmp_path / small_list.file).unlink()
    (tmp_path / f"{small_list.file}.gz").write_bytes(gzip.compress(TEXT)[:99])
    with pytest.raises(UserError, match="is damaged"):
        listing("lt6", tmp_path)


def test_a_list_is_fetched_once_and_then_read_from_the_cache(small_list, server, monkeypatch):
    monkeypatch.setenv("VIEWSTREAM_LISTS_URL", server.url)
    (server.www / small_list.file).write_bytes(TEXT)
    first, second = listing("lt6", None), listing("lt6", None)
    assert first.paths == second.paths
    assert server.asked == [f"/{small_list.file}"]


def test_a_wrong_answer_or_none_names_both_remedies(small_list, server, monkeypatch, tmp_path):
    monkeypatch.setenv("VIEWSTREAM_LISTS_URL", server.url)
    both = r"--lists DIR.*--draw-subset"
    with pytest.raises(UserError, match=f"404.*{both}"):
        listing("lt6", None)
    (server.www / small_list.file).write_bytes(b"<html>not here</html>")
    with pytest.raises(UserError, match=f"sent another file.*{both}"):
        listing("lt6", None)
    monkeypatch.setenv("VIEWSTREAM_LISTS_URL", "http://127.0.0.1:1")
    with pytest.raises(UserError, match=f"cannot fetch.*{both}"):
        listing("lt6", None)
    assert not list((tmp_path / "cache").rglob("*.txt*"))


def test_the_listed_files_are_chosen_and_nothing_else(small_list, tmp_path):
    (tmp_path / small_list.file).write_bytes(TEXT)
    whole = source(WNIDS, [4] * IMAGENET_CLASSES)
    part = subset(whole, "lt6", "train", **ASIDE | {"lists": tmp_path})
    assert sorted(whole.paths[i] for i in part.chosen) == sorted(parse(TEXT, "")[0])
    assert part.origin["from"] == "list"
    assert part.origin["sha256"] == hashlib.sha256(TEXT).hexdigest()


def test_files_that_the_source_lacks_are_named_and_can_be_allowed(small_list, tmp_path):
    (tmp_path / small_list.file).write_bytes(TEXT)
    short = source(WNIDS, [1] * IMAGENET_CLASSES)
    missing = TEXT.count(b"\n") - IMAGENET_CLASSES
    with pytest.raises(
        UserError, match=rf"lacks {missing} of the .*n00000001/n00000001_1\.JPEG.*, \.\.\.; .*--allow-mis"
    ):
        subset(short, "lt6", "train", **ASIDE | {"lists": tmp_path})
    part = subset(short, "lt6", "train", **ASIDE | {"lists": tmp_path, "allow_missing": True})
    assert len(part.chosen) == IMAGENET_CLASSES
    assert len(part.missing) == missing
    with pytest.raises(UserError, match="complete the source"):
        subset(
            source(WNIDS, [0] * IMAGENET_CLASSES), "lt6", "train", **ASIDE | {"lists": tmp_path, "allow_missing": True}
        )


def test_a_list_for_other_classes_suggests_drawing(small_list, tmp_path):
    (tmp_path / small_list.file).write_bytes(TEXT)
    for classes in (["cat", "dog"], [f"other{c:04d}" for c in range(IMAGENET_CLASSES)]):
        with pytest.raises(UserError, match="--draw-subset draws the same shape from these"):
            subset(source(classes, [3] * len(classes)), "lt6", "train", **ASIDE | {"lists": tmp_path})


def test_wrong_words_are_answered_with_the_right_ones():
    pets = source(["cat", "dog"], [3, 3])
    with pytest.raises(UserError, match="unknown subset 'lt5': did you mean 'lt6'"):
        subset(pets, "lt5", "train", **ASIDE)
    with pytest.raises(UserError, match="use --split train, or --subset full for val"):
        subset(pets, "lt6", "val", **ASIDE)
    with pytest.raises(UserError, match="name its shape, as in --subset lt6"):
        subset(pets, "full", "train", **ASIDE | {"draw": True})


def test_drawing_from_imagenet_gives_the_published_counts():
    table = np.loadtxt(subsets.TABLE, np.int64, delimiter=",", skiprows=1)
    whole = source(WNIDS, (table[:, 3] + 3).tolist())
    part = subset(whole, "lt6", "train", **ASIDE | {"draw": True})
    counts = np.bincount(whole.label[part.chosen])
    lt6 = PUBLISHED["lt6"]
    assert (counts.sum(), counts.max(), counts.min()) == (lt6.lines, lt6.most, lt6.least)
    assert part.origin == {"name": "lt6", "from": "draw", "seed": 0, "counts": "imagenet_lt.csv"}
    with pytest.raises(UserError, match=r"takes \d+ pictures of class n\d+, made has 100 \(\d+ classes are short\)"):
        subset(source(WNIDS, [100] * IMAGENET_CLASSES), "lt6", "train", **ASIDE | {"draw": True})


def test_a_drawn_tail_is_long_nested_and_follows_the_seed(monkeypatch):
    classes = [f"c{n:02d}" for n in range(12)]
    whole = source(classes, [150] * 12)
    part = subset(whole, "lt6", "train", **ASIDE | {"draw": True})
    counts = np.bincount(whole.label[part.chosen], minlength=12)
    assert counts.max() > 10 * counts.min() > 0
    assert counts.tolist() != sorted(counts, reverse=True)  # the head is not the first of the alphabet
    monkeypatch.setattr(subsets, "drawn_counts", lambda *_, **__: counts // 2)
    half = subset(whole, "lt6", "train", **ASIDE | {"draw": True})
    assert set(half.chosen) < set(part.chosen)
    other = subset(whole, "lt6", "train", **ASIDE | {"draw": True, "seed": 1})
    assert set(other.chosen) != set(half.chosen)


def test_the_exponent_rule_is_the_published_one():
    table = np.loadtxt(subsets.TABLE, np.int64, delimiter=",", skiprows=1)
    assert table.sum(0).tolist() == [115_845, 115_885, 115_801, 115_836, 115_852]
    for column, exponent in enumerate((0.2, 0.4, 0.6, 0.8), start=1):
        flat = table[:, 0].astype(float) ** exponent
        assert np.abs(np.rint(flat * 115.846 / flat.mean()) - table[:, column]).max() <= 1  # lt is known up to one
    counts = drawn_counts(np.full(1000, 1280), 1.0, order=np.arange(1000))
    assert (counts[0], counts[-1]) == (1280, 5)
    assert abs(counts.sum() / 115_846 - 1) < 0.06  # the curve is close to ImageNet-LT's


def test_no_class_is_lost_and_none_gives_more_than_it_has():
    have = np.array([3, 500, 0, 1, 90])
    counts = drawn_counts(have, 0.6, order=np.array([4, 0, 2, 1, 3]))
    assert (counts <= have).all()
    assert (counts[have > 0] >= 1).all()
    assert drawn_counts(np.array([7]), 0.6, order=np.array([0])).tolist() == [7]


def test_the_published_list_itself_passes_every_check(shared):
    found = listing("lt6", shared / "lists")
    counts = np.bincount(found.label)
    assert (len(found.paths), counts.max(), counts.min()) == (115_836, 553, 20)
    table = np.loadtxt(subsets.TABLE, np.int64, delimiter=",", skiprows=1)
    assert (table[:, 3] == counts).all()
