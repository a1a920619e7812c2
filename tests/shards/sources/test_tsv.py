"""SEED's TSV: listed by a line index, read by row; every damage is named."""

import base64

import numpy as np
import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.sources.detect import open_source
from viewstream.shards.sources.tsv import tsv

PICTURES = [(f"k{n}", n % 3, bytes([n]) * (n + 200)) for n in range(7)]


def rows_of(pictures):
    lines = [f"{k}\t{c}\t{base64.b64encode(d).decode()}\n" for k, c, d in pictures]
    starts = np.cumsum([0, *map(len, lines)])[:-1]
    return "".join(lines), "".join(f"{s}\n" for s in starts)


@pytest.mark.parametrize(
    "index",
    [
        None,
        "right",
        "".join(f"{n}\n" for n in range(7)),
        "0\n999999\n",
        "zero\n",
        "",
        "short",
    ],
)
def test_a_line_index_is_used_when_it_fits_and_made_anew_when_not(index, tmp_path):
    text, right = rows_of(PICTURES)
    (tmp_path / "test.tsv").write_text(text)
    if index is not None:
        short = "".join(right.splitlines(keepends=True)[:4])
        (tmp_path / "test.lineidx").write_text({"right": right, "short": short}.get(index, index))
    source = open_source(str(tmp_path), "val")
    assert (tmp_path / "test.lineidx").read_text() == right
    found = {p: source.reader.read(at) for p, at in zip(source.paths, source.places, strict=True)}
    assert found == {f"{c}/{k}.JPEG": d for k, c, d in PICTURES}
    assert source.classes == ("0", "1", "2")


def test_a_folder_that_takes_no_index_is_no_trouble(tmp_path):
    text, _ = rows_of(PICTURES)
    (tmp_path / "a.tsv").write_text(text.rstrip("\n"))
    (tmp_path / "a.lineidx.partial").mkdir()  # the index cannot be written
    source = tsv(tmp_path / "a.tsv", "train")
    assert len(source) == 7
    assert not (tmp_path / "a.lineidx").exists()


def test_an_index_that_skips_rows_is_seen_when_they_are_read(tmp_path):
    text, right = rows_of(PICTURES)
    (tmp_path / "a.tsv").write_text(text)
    lines = right.splitlines(keepends=True)
    (tmp_path / "a.lineidx").write_text("".join(lines[:2] + lines[3:]))
    source = tsv(tmp_path / "a.tsv", "train")
    with pytest.raises(UserError, match=r"is several: remove its \.lineidx"):
        source.reader.read(source.places[source.paths.index("1/k1.JPEG")])


@pytest.mark.parametrize(
    ("text", "said"),
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
def test_rows_that_cannot_stand_are_refused(text, said, tmp_path):
    (tmp_path / "a.tsv").write_text(text)
    with pytest.raises(UserError, match=said):
        tsv(tmp_path / "a.tsv", "train")


@pytest.mark.parametrize("data", ["AAA", "AA*A", "Ü"])
def test_a_picture_that_is_no_base64_is_an_error_of_its_own(data, tmp_path):
    (tmp_path / "a.tsv").write_text(f"j\t0\tAAAA\nk\t0\t{data}\n")
    source = tsv(tmp_path / "a.tsv", "train")
    assert source.reader.read(source.places[0]) == b"\0\0\0"
    with pytest.raises(ValueError, match=r"row at byte 9 of a\.tsv ends in no base64"):
        source.reader.read(source.places[1])
