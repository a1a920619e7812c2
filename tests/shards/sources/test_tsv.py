"""SEED's tables: listed by their line index, read by row; errors name the row."""

import base64

import numpy as np
import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.sources.detect import open_source
from viewstream.shards.sources.tsv import tsv

IMAGES = [(f"k{n}", n % 3, bytes([n]) * (n + 200)) for n in range(7)]


def rows_of(images):
    """The texts of a table and of its line index."""
    lines = [f"{k}\t{c}\t{base64.b64encode(d).decode()}\n" for k, c, d in images]
    starts = np.cumsum([0, *map(len, lines)])[:-1]
    return "".join(lines), "".join(f"{s}\n" for s in starts)


@pytest.mark.parametrize(
    "index",
    [None, "right", "".join(f"{n}\n" for n in range(7)), "0\n999999\n", "zero\n", "", "short"],
)
def test_a_line_index_that_does_not_fit_is_rewritten(index, tmp_path):
    text, right = rows_of(IMAGES)
    (tmp_path / "test.tsv").write_text(text)
    if index is not None:
        short = "".join(right.splitlines(keepends=True)[:4])
        (tmp_path / "test.lineidx").write_text({"right": right, "short": short}.get(index, index))
    source = open_source(str(tmp_path), "val")
    assert (tmp_path / "test.lineidx").read_text() == right
    found = {p: source.reader.read(at) for p, at in zip(source.paths, source.places, strict=True)}
    assert found == {f"{c}/{k}.JPEG": d for k, c, d in IMAGES}
    assert source.classes == ("0", "1", "2")


def test_an_index_that_cannot_be_written_is_no_error(tmp_path):
    text, _ = rows_of(IMAGES)
    (tmp_path / "a.tsv").write_text(text.rstrip("\n"))
    (tmp_path / "a.lineidx.partial").mkdir()  # the index cannot be written
    source = tsv(tmp_path / "a.tsv", "train")
    assert len(source) == 7
    assert not (tmp_path / "a.lineidx").exists()


def test_an_index_that_skips_rows_is_found_when_they_are_read(tmp_path):
    text, right = rows_of(IMAGES)
    (tmp_path / "a.tsv").write_text(text)
    lines = right.splitlines(keepends=True)
    (tmp_path / "a.lineidx").write_text("".join(lines[:2] + lines[3:]))
    source = tsv(tmp_path / "a.tsv", "train")
    with pytest.raises(UserError, match=r"is several rows: remove its \.lineidx"):
        source.reader.read(source.places[source.paths.index("1/k1.JPEG")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("k\tcat\tAAAA\n", "row 1 at byte 0 begins .* a row is key, label, image in base64"),
        ("k\t0\tAAAA\n\nl\t0\tAAAA\n", "row 2 at byte 9 begins"),
        ("k\t0\n", "row 1 at byte 0 begins"),
        ("k\t0\tAAAA\nk\t0\tBBBB\n", "share the key 0/k"),
        ("../k\t0\tAAAA\n", "leads out of the source"),
        ("k\t99999999999\tAAAA\n", "a label is the number of a class"),
        ("", "holds no images"),
    ],
)
def test_invalid_rows_are_refused(text, message, tmp_path):
    (tmp_path / "a.tsv").write_text(text)
    with pytest.raises(UserError, match=message):
        tsv(tmp_path / "a.tsv", "train")


def test_negative_labels_mean_unlabeled(tmp_path):
    (tmp_path / "a.tsv").write_text("k\t-1\tAAAA\nj\t-7\tAAAA\n")
    source = tsv(tmp_path / "a.tsv", "train")
    assert (source.classes, source.paths, source.label.tolist()) == ((), ["j.JPEG", "k.JPEG"], [-1, -1])


@pytest.mark.parametrize("data", ["AAA", "AA*A", "Ü"])
def test_an_image_that_is_not_base64_is_an_error_of_its_row(data, tmp_path):
    (tmp_path / "a.tsv").write_text(f"j\t0\tAAAA\nk\t0\t{data}\n")
    source = tsv(tmp_path / "a.tsv", "train")
    assert source.reader.read(source.places[0]) == b"\0\0\0"
    with pytest.raises(ValueError, match=r"row at byte 9 of a\.tsv ends in no base64"):
        source.reader.read(source.places[1])
