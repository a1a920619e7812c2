"""Every line of a list is checked; errors name the file and the line."""

import gzip
import hashlib

import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.lists import class_names, parse, read


def test_all_spellings_of_a_path_mean_class_and_file():
    paths, label = parse(
        b"train/a/1.JPEG 0\n/a/2.JPEG 0 extra\r\n\nb/3.JPEG 1\nval/b/4.JPEG 10000000\ntrain/val/5.JPEG 2", "list"
    )
    assert paths == ["a/1.JPEG", "a/2.JPEG", "b/3.JPEG", "b/4.JPEG", "val/5.JPEG"]
    assert label.tolist() == [0, 0, 1, 10_000_000, 2]


def test_a_list_may_have_paths_without_labels():
    paths, label = parse(b"/a/1.JPEG\ntrain/b/2.JPEG\n", "list")
    assert paths == ["a/1.JPEG", "b/2.JPEG"]
    assert label.tolist() == [-1, -1]


@pytest.mark.parametrize(
    "text",
    [
        b"a/my 3 cats.jpg 0\nb.d/2.png 1\n",
        b"a/my 3 cats.jpg 0\rb.d/2.png 1\r",
        b"path,label\r\na/my 3 cats.jpg,0\r\nb.d/2.png,1\r\n",
        b"a/my 3 cats.jpg, 0, x\nb.d/2.png ; 1\n",
        b'# made by hand\n"a/my 3 cats.jpg",0\n  # more\n\nb.d/2.png,1',
        b"./a/my 3 cats.jpg\t0\n.//b.d/./2.png\t1\n",
        b"image_id label\n/a/my 3 cats.jpg 0\n./val/b.d/2.png 1 0.5 2\n",
    ],
)
def test_lists_are_written_in_many_ways(text):
    paths, label = parse(text, "list")
    assert paths == ["a/my 3 cats.jpg", "b.d/2.png"]
    assert label.tolist() == [0, 1]


def test_paths_without_labels_may_have_spaces():
    assert parse(b"a/my cat.jpg\r./a/2 \xc3\xbc.JPEG\r", "list")[0] == ["a/my cat.jpg", "a/2 ü.JPEG"]


def test_a_long_line_is_refused_at_once():
    for line in (b"a.jpg" + b" " * 100_000 + b"x", b"x" + b" " * 100_000 + b"y", b"a" * 100_000 + b" b"):
        with pytest.raises(UserError, match="not `path label`"):
            parse(line, "list")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a/1.JPEG 0\nb/2.JPEG\n", r"list line 2 is 'b/2.JPEG', not `path label`: is it a list file\?"),
        (b"a/1.JPEG\n\nb/2.JPEG 1\n", r"list line 3 is 'b/2.JPEG 1', not a path without a label"),
        (b"a/my cat\n", "line 1 is 'a/my cat', not `path label`"),
        (b"a/1.jpg,cat\n", "line 1 is 'a/1.jpg,cat', not `path label`"),
        (b"# alone\n", "list names no images"),
        (b"a/1.JPEG 0.5\n", "line 1 .*not `path label`"),
        (b"/ 0\n", "line 1 is '/ 0'"),
        (b"a/1.JPEG 0\na/2.JPEG -1\n", "list line 2 has label -1: labels are 0 to 10,000,000"),
        (b"a/1.JPEG 10000001\n", "line 1 has label 10000001"),
        (b"a/1.JPEG " + b"9" * 5000, "line 1 has label 9{20}:"),
        (b"a/1.JPEG 0\nb/1.JPEG 1\ntrain/a/1.JPEG 0\n", "list line 3 names a/1.JPEG again, as line 1 does"),
        (b"a/1.JPEG 0\n\xff\xd8\n", "list line 2 is not UTF-8 text"),
        (b"\n \n", "list is empty"),
        (b"\xef\xbb\xbf", "list is empty"),
        ("\u00a0\n".encode(), "list is empty"),
    ],
)
def test_an_invalid_line_is_named_in_the_error(text, message):
    with pytest.raises(UserError, match=message):
        parse(text, "list")


def test_class_names_are_first_fields_without_slashes():
    assert class_names(b"/b/ note\na\n\n", "set") == ["b", "a"]
    with pytest.raises(UserError, match="set line 2 names class a again, as line 1 does"):
        class_names(b"a\n/a\n", "set")
    with pytest.raises(UserError, match="set line 2 is '/ x', not a class"):
        class_names(b"a\n/ x\n", "set")


def test_a_list_may_be_gzipped_and_is_hashed_as_text(tmp_path):
    plain, packed = tmp_path / "list", tmp_path / "list.gz"
    plain.write_bytes(b"a/1 0\n")
    packed.write_bytes(gzip.compress(b"a/1 0\n"))
    assert read(plain) == read(packed) == (b"a/1 0\n", hashlib.sha256(b"a/1 0\n").hexdigest())
    whole = packed.read_bytes()
    for broken in (whole[:9], whole[:10] + b"\xff" + whole[11:]):
        packed.write_bytes(broken)
        with pytest.raises(UserError, match=r"list.gz is damaged or cannot be read"):
            read(packed)
