"""The published lists: their files, figures and addresses.

The lists belong to their authors and are no part of this project, which holds only what identifies them.
"""

from typing import NamedTuple

BALFEAT = "https://raw.githubusercontent.com/bingykang/BalFeat/7a05423797035ef8a1e57d5ac1442ca0ffc545b7/data"
BALANCING = (
    "https://raw.githubusercontent.com/facebookresearch/classifier-balancing/"
    "22370c64141cc662f62ead89447c838c4a7977b5/data/ImageNet_LT"
)
CLASSES = 1000  # of ImageNet
DRAW = "draw the same counts with --draw-subset"
COMPUTE = "compute it from the sorted classes with --draw-subset"
WHOLE = "take the whole validation split, the same images, with --subset full --split val"


class Published(NamedTuple):
    """A list file, and what it must contain."""

    file: str
    blob: str  # git's hash of the text
    lines: int
    largest: int  # images of a class
    smallest: int
    exponent: float | None = None  # of the long tail, as in `draws.drawn_counts`; None = no long tail to draw
    split: tuple[str, str] = ("train", "train")  # of the listed images, and of the set that they make
    base: str = BALFEAT  # the authors' folder, at a pinned commit
    original: str = ""  # the file's name there, if it differs
    remedy: str = DRAW  # what to do without the list


PUBLISHED = {
    "lt0": Published("imagenet_100k_train.txt", "60d3dfaf2cd3856301b81c2288be49eb4bc7a3ad", 115_000, 115, 115, 0.0),
    "lt2": Published("imagenet_lt2_train.txt", "a5f9c26b4cad46bc0bf899dfdaad13a0509ecc8e", 115_885, 204, 67, 0.2),
    "lt4": Published("imagenet_lt4_train.txt", "0568c6031da4683557233105ac815ef497d8cbe2", 115_801, 343, 37, 0.4),
    "lt6": Published("imagenet_lt6_train.txt", "fa9d84a4963cbf64b2b18bfe1bf18f06035758b6", 115_836, 553, 20, 0.6),
    "lt8": Published("imagenet_lt8_train.txt", "530c5f727261e028b848dd8bc1b060f08bfce956", 115_852, 857, 10, 0.8),
    "lt": Published(
        "imagenet_longtail_train.txt",
        "a063f095fcd475db4cf8b0658c4b73955535bbf9",
        lines=115_846,
        largest=1280,
        smallest=5,
        exponent=1.0,
        base=BALANCING,
        original="ImageNet_LT_train.txt",
    ),
    "100kp": Published("imagenet_100kp_train.txt", "4157aa825927667c05fb82d1d966e8a092813e9c", 116_000, 116, 116),
    "lt-val": Published(
        "imagenet_longtail_val.txt",
        "3ed3188b2f44829ce2dec1cc27040d8d40984088",
        lines=20_000,
        largest=20,
        smallest=20,
        split=("train", "val"),
        base=BALANCING,
        original="ImageNet_LT_val.txt",
    ),
    "lt-test": Published(
        "imagenet_longtail_test.txt",
        "76a2fb9749d6cd29e765cc4f8c270f2504131e2f",
        lines=50_000,
        largest=50,
        smallest=50,
        split=("val", "val"),
        base=BALANCING,
        original="ImageNet_LT_test.txt",
        remedy=WHOLE,
    ),
}
CLASSSETS = {  # these list classes, each once
    name: Published(f"imagenet_{name}.txt", blob, 500, 1, 1, remedy=COMPUTE)
    for name, blob in {
        "clsset1": "91bee1406a751f81421f5f450674cc683d21bbe5",
        "clsset1_comp": "b38f87c33718a604360da5ec826ad0878b7ba811",
        "clsset2": "ee6b0210b89d62aa75fb8754e9da462dda10239b",
        "clsset2_comp": "fab9743158e4f4eb098de8c3df915888877c936c",
    }.items()
}
