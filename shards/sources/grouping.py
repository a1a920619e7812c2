"""Which members of a tar make a sample, where names have more than one dot.

WebDataset ends a key at the first dot, so `x.input.jpg` is the member `input.jpg` of sample x; but elsewhere
`photo.v1.jpg` and `photo.v2.jpg` are two images. What lies beside them decides: an image with its own label is a
sample.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import UserError
from .images import SUFFIXES
from .labels import Label
from .wanted import Wanted


class Part(NamedTuple):
    """A member of a tar that has a key."""

    key: str  # up to the first dot of the file's name
    name: str
    offset: int
    length: int
    label: Label | ValueError  # that it holds; an error for one that cannot be read
    alike: str  # what in it looks like a label but has another name
    spent: bool  # it holds nothing but a label

    @property
    def suffix(self) -> str:
        """What follows the key."""
        return self.name[len(self.key) + 1 :].lower()

    @property
    def stem(self) -> str:
        """The name up to its last dot."""
        return self.name.rpartition(".")[0]


class Group(NamedTuple):
    """A sample: its image, and other members by suffix."""

    key: str
    image: Part
    others: dict[str, Part]


def groups(parts: Sequence[Part], wanted: Wanted, tar: str) -> list[Group] | None:
    """The samples among the members with one first-dot key; None when they are images of one or of several samples.

    UserError for a sample with several images."""
    images = images_of(parts, wanted)
    if wanted.member:
        return apart({part.name[: -len(wanted.member) - 1]: part for part in images}, parts)
    plain = [part for part in images if "." not in part.suffix]
    labeled = {part.stem for part in parts if part.label is not None}
    own = [part for part in images if part not in plain and part.stem in labeled]
    if len(plain) > 1:
        raise _several(plain, tar)
    if own and (plain or len(images) > 1):
        return by_last_dot(plain + own if plain else images, parts, tar)
    if plain or len(images) == 1:
        image = (plain or images)[0]
        (group,) = apart({image.stem: image}, parts)
        return [group._replace(key=image.key)]
    if images and images[0].key in labeled:
        raise _several(images, tar)
    return None if images else []


def unsure_groups(parts: Sequence[Part], wanted: Wanted, tar: str) -> list[Group]:
    """The samples of all the members of a tar that `groups` could not tell apart: each image is one.

    UserError when suffixes repeat from key to key: then each key is a sample with several images."""
    images = images_of(parts, wanted)
    times = Counter(image.suffix for image in images)
    if repeated := next((image for image in images if times[image.suffix] > 1), None):
        raise _several([image for image in images if image.key == repeated.key], tar)
    return by_last_dot(images, parts, tar)


def images_of(parts: Sequence[Part], wanted: Wanted) -> list[Part]:
    """The members that may be the image of a sample."""
    if wanted.member:
        return [part for part in parts if part.name.lower().endswith(f".{wanted.member}")]
    return [
        part for part in parts if f".{part.suffix.rpartition('.')[2]}" in SUFFIXES and part.suffix not in wanted.fields
    ]


def by_last_dot(images: Sequence[Part], parts: Sequence[Part], tar: str) -> list[Group]:
    """Each image as a sample whose key ends at the last dot; UserError for two with one key."""
    stems = {image.stem: image for image in images}
    if twins := [image for image in images if stems[image.stem] is not image]:
        raise _several([twins[0], stems[twins[0].stem]], tar)
    return apart(stems, parts)


def apart(images: dict[str, Part], parts: Sequence[Part]) -> list[Group]:
    """The images as samples, by their keys. A member belongs to the longest key that its name begins with, else to all
    of them, as one label for several views does."""
    shared: dict[str, Part] = {}
    own: dict[str, dict[str, Part]] = {key: {} for key in images}
    for part in parts:
        owner = _owner(part.name, images)
        if owner is None:
            shared[part.suffix] = part
        elif part is not images[owner]:
            own[owner][part.name[len(owner) + 1 :].lower()] = part
    return [Group(key, image, shared | own[key]) for key, image in images.items()]


def _owner(name: str, keys: dict[str, Part]) -> str | None:
    """The longest of `keys` that a member's name continues after a dot."""
    while "." in name:
        name = name.rpartition(".")[0]
        if name in keys:
            return name
    return None


def _several(images: Sequence[Part], tar: str) -> UserError:
    """The error for a sample with several images."""
    first, last = images[0].suffix, images[0].suffix.rpartition(".")[2]
    names = " and ".join(image.suffix for image in images)
    each = f", or each as a sample of its own with --member {last}" if last != first else ""
    return UserError(
        f"{tar} has several images of key {images[0].key} ({names}): leave one image per key, or choose one with "
        f"--member {first}{each}"
    )
