"""Tars are read without unpacking: what lies in them is found, and every damage is named."""

import io
import tarfile

import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.sources.detect import open_source
from viewstream.shards.sources.tarwalk import members

from ..archives import tar

LONG = "n01440764/" + "ü" * 120 + ".JPEG"


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_in_a_tar_is_ranges_of_the_outer_one_whatever_its_names(form):
    inside = [("n01440764/a.JPEG", b"first"), (LONG, b"x" * 513), ("./empty.JPEG", b"")]
    outer = io.BytesIO(tar([("z", b"zz"), ("n01440764.tar", tar(inside, form))], form))
    _, inner = members(outer, "outer")
    found = list(members(outer, "inner", inner.offset, inner.offset + inner.size))
    assert [m.name for m in found] == [name for name, _ in inside]
    assert [outer.getvalue()[m.offset : m.offset + m.size] for m in found] == [data for _, data in inside]


def test_folders_are_no_members_and_links_are_refused():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        for name, kind in (("d", tarfile.DIRTYPE), ("d/x.jpg", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "elsewhere"
            made.addfile(info)
    with pytest.raises(UserError, match=r"'d/x\.jpg' in t is a link: pack it with tar --dereference"):
        list(members(file, "t"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda t: t[:1000], r"is cut off at byte 1000: 'a/0\.JPEG' at byte 0 goes on to byte 1112"),
        (lambda t: t[:1300], r"is cut off at byte 1300: it has no end mark at byte 1536"),
        (lambda t: t[:1536], r"is cut off at byte 1536: it has no end mark at byte 1536"),
        (lambda t: t[:1540] + b"\xff" * 600, r"is no tar, or damaged at byte 1536"),
        (lambda t: b"GIF89a" * 300, r"is no tar, or damaged at byte 0"),
    ],
)
def test_a_damaged_tar_is_named_with_the_place(damage, said, tmp_path):
    whole = tar([("a/0.JPEG", b"x" * 600), ("a/1.JPEG", b"y" * 600)])
    (tmp_path / "t.tar").write_bytes(damage(whole))
    with pytest.raises(UserError, match=r"t\.tar .*" + said):
        open_source(str(tmp_path / "t.tar"), "train")


def block(size, kind=b"0"):
    """A header with a size of our own and a checksum that is right."""
    made = bytearray(tar([("a/x.jpg", b"")])[:512])
    made[124:136], made[148:156], made[156:157] = size.ljust(12, b"\0"), b" " * 8, kind
    made[148:156] = b"%06o\0 " % sum(made)
    return bytes(made)


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
def test_numbers_of_a_garbled_header_neither_hang_nor_break_the_walk(data):
    with pytest.raises(UserError, match=r"t is no tar, or damaged at byte 0|t is damaged at byte 512|t is cut off"):
        list(members(io.BytesIO(data + bytes(2048)), "t"))


def test_the_record_of_a_sparse_file_may_be_no_text():
    data = block(b"20", b"x") + b"16 GNU.sparse\xff=\n".ljust(512, b"\0") + bytes(1024)
    assert list(members(io.BytesIO(data), "t")) == []
