"""Tars are read without unpacking: members are found, and errors name the damaged byte."""

import io
import tarfile

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
