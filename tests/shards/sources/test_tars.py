"""Tars are read without unpacking: members are found, and errors name the damaged byte."""

import bz2
import gzip
import io
import lzma
import tarfile

import numpy as np
import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.sources.detect import open_source
from viewstream.shards.sources.tarwalk import members

from ..archives import tar

LONG = "n01440764/" + "ü" * 120 + ".JPEG"


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_of_a_tar_in_a_tar_are_ranges_of_the_outer_one(form):
    inside = [("n01440764/a.JPEG", b"first"), (LONG, b"x" * 513), ("./empty.JPEG", b"")]
    outer = io.BytesIO(tar([("z", b"zz"), ("n01440764.tar", tar(inside, form))], form))
    _, inner = members(outer, "outer")
    found = list(members(outer, "inner", inner.offset, inner.offset + inner.size))
    assert [m.name for m in found] == [name for name, _ in inside]
    assert [outer.getvalue()[m.offset : m.offset + m.size] for m in found] == [data for _, data in inside]


def test_folders_are_left_out_and_links_are_refused():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, kind in (("d", tarfile.DIRTYPE), ("d/x.jpg", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "elsewhere"
            archive.addfile(info)
    with pytest.raises(UserError, match=r"'d/x\.jpg' in t is a link: pack it with tar --dereference"):
        list(members(file, "t"))


def test_concatenated_tars_are_read_to_their_end():
    both = tar([("a.jpg", b"x")]) + tar([("b.jpg", b"y" * 600)])
    found = list(members(io.BytesIO(both), "t"))
    assert [m.name for m in found] == ["a.jpg", "b.jpg"]
    assert [both[m.offset : m.offset + m.size] for m in found] == [b"x", b"y" * 600]
    for rest, message in ((b"x" * 600, r"damaged at byte \d+"), (b"x", "has no end mark")):
        with pytest.raises(UserError, match=message):
            list(members(io.BytesIO(both + rest), "t"))


@pytest.mark.parametrize(("pack", "kind"), [(gzip.compress, "gzip"), (bz2.compress, "bzip2"), (lzma.compress, "xz")])
def test_a_compressed_tar_is_named_as_such(pack, kind, tmp_path):
    for data in (tar([("a/0.JPEG", b"x" * 600)]), tar([("a/0.JPEG", np.random.default_rng(0).bytes(9000))])):
        for name in ("t.tar", "t.tar.gz"):
            (tmp_path / name).write_bytes(pack(data))
            with pytest.raises(UserError, match=rf"t\.tar.* is compressed by {kind}: unpack it to a plain tar"):
                open_source(str(tmp_path / name), "train")
    (tmp_path / "t.tar").unlink()
    with pytest.raises(UserError, match=r"its 1 tars are compressed \(t\.tar\.gz\), unpack them"):
        open_source(str(tmp_path), "train")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t[:1000], r"is cut off at byte 1000: 'a/0\.JPEG' begins at byte 0 and ends at byte 1112"),
        (lambda t: t[:1300], r"is cut off at byte 1300: it has no end mark at byte 1536"),
        (lambda t: t[:1536], r"is cut off at byte 1536: it has no end mark at byte 1536"),
        (lambda t: t[:1540] + b"\xff" * 600, r"is no tar, or damaged at byte 1536"),
        (lambda t: b"GIF89a" * 300, r"is no tar, or damaged at byte 0"),
    ],
)
def test_a_damaged_tar_is_named_with_the_byte(damage, message, tmp_path):
    whole = tar([("a/0.JPEG", b"x" * 600), ("a/1.JPEG", b"y" * 600)])
    (tmp_path / "t.tar").write_bytes(damage(whole))
    with pytest.raises(UserError, match=r"t\.tar .*" + message):
        open_source(str(tmp_path / "t.tar"), "train")


def block(size, kind=b"0"):
    """A header with any size field and a correct checksum."""
    header = bytearray(tar([("a/x.jpg", b"")])[:512])
    header[124:136], header[148:156], header[156:157] = size.ljust(12, b"\0"), b" " * 8, kind
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@pytest.mark.parametrize(
    "data",
    [
        block(b"-0000001000"),
        block(b"%o" % 5000, b"x") + b"9" * 5000,
        block(b"%o" % 5010, b"x") + b"5010 size=" + b"9" * 5000,
        block(b"2000000", b"x") + b"5 a=\n" * 100_000 + b"0 a=b\n",
    ],
    ids=["size below zero", "endless length", "endless size", "many records"],
)
def test_invalid_numbers_in_headers_are_errors_not_hangs(data):
    with pytest.raises(UserError, match=r"t is no tar, or damaged at byte 0|t is damaged at byte 512|t is cut off"):
        list(members(io.BytesIO(data + bytes(2048)), "t"))


def test_the_record_of_a_sparse_file_need_not_be_text():
    data = block(b"20", b"x") + b"16 GNU.sparse\xff=\n".ljust(512, b"\0") + bytes(1024)
    assert list(members(io.BytesIO(data), "t")) == []
