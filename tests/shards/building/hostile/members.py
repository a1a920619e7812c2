"""Members of a tar, byte by byte: whole ones, and ones with false headers."""

from .source import GOOD, JPEGS

TITLES = {  # names without suffix
    "up": "../x",
    "inside": "dog/../x",
    "absolute": "/dog/x",
    "dot": "dog/./x",
    "double": "dog//x",
    "newline": "dog/a\nb",
    "folder-newline": "do\ng/a",
    "latin": "dog/\udcff",
    "space": " dog / x ",
    "again": "dog/dog_1",
    "dots": "dog/x.y",
    "hidden": "dog/.x",
}
SIZES = {  # size fields of a header
    "negative": b"-0000001000",
    "back": b"-1",
    "huge": b"77777777777",
    "binary": b"\x80" + b"\xff" * 11,
    "minus": b"\xff" * 12,
    "word": b"abcdefg",
    "none": b"\0",
    "underscores": b"1_0",
}
LABELS = {  # members beside dog/x.jpg
    "cls-word": ("cls", b"dog"),
    "cls-binary": ("cls", b"\xff\0"),
    "cls-negative": ("cls", b"-7"),
    "cls-large": ("cls", b"9" * 5000),
    "json-deep": ("json", b"[" * 300_000),
    "json-number": ("json", b'{"label": 1e999}'),
    "json-digits": ("json", b'{"label": ' + b"9" * 5000 + b"}"),
    "json-binary": ("json", b"\xff\xfe{}"),
}


def header(name: bytes, size: bytes | int, kind: bytes = b"0") -> bytes:
    """A header block with a valid checksum, even when the fields are not valid."""
    field = size if isinstance(size, bytes) else b"%011o\0" % size
    block = bytearray(name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + field.ljust(12, b"\0"))
    block += b"0" * 11 + b"\0" + b" " * 8 + kind + bytes(100) + b"ustar\x0000" + bytes(247)
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name: str | bytes, data: bytes, kind: bytes = b"0", size: bytes | None = None) -> bytes:
    raw = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    return header(raw, size or len(data), kind) + data + bytes(-len(data) % 512)


def pax(**records: str) -> bytes:
    text = b""
    for key, value in records.items():
        tail = f" {key}={value}\n".encode("utf-8", "surrogateescape")
        size = next(n for n in range(len(tail) + 1, len(tail) + 9) if n == len(str(n)) + len(tail))
        text += str(size).encode() + tail
    return member("pax", text, b"x")


def samples(files: dict[str, bytes] = GOOD) -> list[bytes]:
    members = []
    for name, data in files.items():
        label = b"%d" % name.startswith("dog")
        members += [member(name, data), member(f"{name.rpartition('.')[0]}.cls", label)]
    return members


def odd_members() -> dict[str, list[bytes]]:
    """{case: members that come before the sound ones}."""
    jpeg = JPEGS[5]
    found = {name: [member(f"{title}.jpg", jpeg), member(f"{title}.cls", b"1")] for name, title in TITLES.items()}
    for name, size in SIZES.items():
        found[f"size-{name}"] = [member("dog/x.jpg", jpeg, size=size), member("dog/x.cls", b"1")]
    for kind in (b"1", b"2", b"3", b"5", b"6", b"S", b"K", b"g", b"Z"):
        found[f"kind-{kind!r}"] = [header(b"dog/x.jpg", 0, kind)]
    sample = [member("y.jpg", jpeg), member("dog/x.cls", b"1")]
    found |= {
        "pax-up": [pax(path="../../etc/x.jpg"), *sample],
        "pax-zero": [pax(path="dog/a\0b.jpg"), sample[0], pax(path="dog/a\0b.cls"), member("y", b"1")],
        "pax-size": [pax(size="9" * 4), *sample],
        "pax-digits": [pax(size="9" * 5000), *sample],
        "pax-length": [member("p", b"9" * 5000 + b" path=x\n", b"x"), *sample],
        "pax-key": [pax(**{"GNU.sparse\udcff": "1"}), *sample],
        "pax-none": [member("p", b"12345", b"x"), *sample],
        "pax-zero-length": [member("p", b"0 a=b\n", b"x"), *sample],
        "pax-many": [member("p", b"5 a=\n" * 50_000, b"x"), *sample],
        "long-name": [member("l", b"dog/" + b"n" * 5000 + b".jpg\0", b"L"), *sample],
        "long-none": [member("l", b"", b"L"), *sample],
    }
    for name, (suffix, data) in LABELS.items():
        found[name] = [member("dog/x.jpg", jpeg), member(f"dog/x.{suffix}", data)]
    for name, data in {"image": b"none", "empty": b""}.items():
        found[name] = [member("dog/x.jpg", data), member("dog/x.cls", b"1")]
    return found
