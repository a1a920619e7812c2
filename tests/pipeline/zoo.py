"""Class folders of usual and odd images."""

import io

from PIL import Image

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.plain import HEAD


def saved(image, form="JPEG", **how):
    file = io.BytesIO()
    image.save(file, form, **how)
    return file.getvalue()


def exif(turn, more=0):
    page = Image.Exif()
    page[0x0112] = turn
    page[0x010E] = "x" * more
    return page


ODD = {
    "cmyk": lambda i: saved(i.convert("CMYK")),
    "grey": lambda i: saved(i.convert("L")),
    "rgb": lambda i: saved(i, keep_rgb=True),
    "png": lambda i: saved(i, "PNG"),
    "palette": lambda i: saved(i.quantize(64), "PNG"),
    "rotated": lambda i: saved(i, exif=exif(6)),
    "mirrored": lambda i: saved(i, exif=exif(5, more=HEAD)),  # its headers are longer than what is read of the head
}
USUAL = {
    "upright": lambda i: saved(i, exif=exif(1)),
    "talkative": lambda i: saved(i, comment=b"x" * 40_000),
    "progressive": lambda i: saved(i, progressive=True),
    "trailing": lambda i: saved(i) + b"trailer" * 4000,
    "large": lambda i: saved(i.resize((500, 400)), quality=98),
    "small": lambda i: saved(i.resize((9, 5))),
}


def grown(root, kinds, image, each=1):
    """An ImageFolder of two classes, `each` images of each kind in both."""
    for name in ("ant", "bee"):
        folder = root / "train" / name
        folder.mkdir(parents=True)
        for kind, make in kinds.items():
            for n in range(each):
                (folder / f"{kind}.{n}.JPEG").write_bytes(make(image.rotate(5 * n + len(name + kind))))
    return root


def kept(source, out):
    """Built with --keep, as tars only."""
    return build(BuildOptions(source=source, out=out, keep=True, format=("webdataset",), workers=1))
