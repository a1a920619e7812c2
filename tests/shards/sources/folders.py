"""Trees of folders for the tests of sources."""

from ..archives import tar

JPEG = b"\xff\xd8\xff\xe0 some bytes"
TREE_PATHS = ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg"]
TREE = [f"{split}/{name}/{n}.jpg" for split in ("train", "val") for name in ("cat", "dog") for n in (1, 2)]


def lay(root, *files, data=JPEG):
    """Files under `root`; those that are called .tar are tars."""
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tar([("x/1.jpg", JPEG), ("x/1.cls", b"0")]) if path.suffix == ".tar" else data)
    return str(root)


def passed(source):
    """{reason: names} of what a source passes over."""
    return source.passed.names
