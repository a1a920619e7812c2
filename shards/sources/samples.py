"""Samples of WebDataset tars: an image `key.jpg`, its label in `key.cls` or `key.json`, in any order within a tar."""

import itertools
import operator
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from ..errors import UserError
from .grouping import Group, Part, groups, unsure_groups
from .labels import Label, label_name
from .notes import is_note, note
from .passed import PassedOver
from .storage import Storage
from .tarwalk import members
from .wanted import ANY, NONE, Wanted

KEY = re.compile(r"(?:\./)?(((?:.*/)?[^./][^./]*)\.[^/]+)", re.DOTALL)  # up to the first dot of the file's name
LONGEST_NOTE = 1 << 20  # bytes of a .cls or .json
MORE = "members other than image and label (--fields carries them along)"
NO_IMAGE = "members without an image of their key"
LABEL_ALONE = "labels without an image of their key"
NO_KEY = "members whose names give no key"
ABSENT = (-1, -1)  # offset and length of a further member that a sample lacks


class Sample(NamedTuple):
    """An image in a tar."""

    tar: int  # number of the tar
    offset: int
    length: int
    key: str
    name: str  # of the member
    label: Label
    fields: tuple[tuple[int, int], ...]  # offset and length of each further member that is wanted, or ABSENT


def samples(
    files: Storage, tars: list[str], wanted: Wanted = ANY, passed: PassedOver | None = None
) -> Iterator[Sample]:
    """The images of tars; the members that are left out go to `passed`.

    A sample whose members lie side by side comes in order, another one at the end of its tar. UserError for a damaged
    tar or label, or several images with one key."""
    passed = PassedOver() if passed is None else passed
    for number, tar in enumerate(tars):
        with files.open(tar) as file:
            yield from samples_of(file, number, files.show(tar), wanted, passed)


def samples_of(file: BinaryIO, number: int, name: str, wanted: Wanted, passed: PassedOver) -> Iterator[Sample]:
    """The images of tar `number`, which is open; `name` in messages."""
    for found, left in _found(_parts(file, name, wanted, passed), wanted, name):
        for reason, part in left:
            passed.add(reason, part.name)
        for group in found:
            yield _sample(number, group, wanted, name)


def _parts(file: BinaryIO, tar: str, wanted: Wanted, passed: PassedOver) -> Iterator[Part]:
    """The members that have a key, with the labels in them."""
    for name, offset, size in members(file, tar):
        if not (match := KEY.fullmatch(name)):
            passed.add(NO_KEY, name)
            continue
        name, key = match.groups()
        suffix, data = name[len(key) + 1 :].lower(), b""
        if is_note(suffix, wanted) and size <= LONGEST_NOTE:
            file.seek(offset)
            data = file.read(size)
        yield Part(key, name, offset, size, *note(suffix, data, wanted))


def _found(parts: Iterator[Part], wanted: Wanted, tar: str) -> Iterator[tuple[list[Group], Iterator[tuple[str, Part]]]]:
    """The samples of one tar, and with them the members that are left out, each with the reason.

    Only members of samples that are not complete are held until the end of the tar."""
    waiting: dict[str, list[Part]] = {}
    complete: set[str] = set()  # keys
    for key, run in itertools.groupby(parts, operator.attrgetter("key")):
        own = list(run)
        found = None if key in waiting else groups(own, wanted, tar)
        if found and all(_complete(group, wanted) for group in found):
            complete.add(key)
            yield found, _left(found, own, wanted, MORE)
        else:
            waiting.setdefault(key, []).extend(own)
    unsure: list[Part] = []
    for key, own in waiting.items():
        found = groups(own, wanted, tar)
        if key in complete:  # the others are further members of a complete sample, as `x.mask.png` of x.jpg
            found = [group for group in found or () if "." not in group.image.suffix or _label_part(group)]
        if found is None:
            unsure += own
        else:
            yield found, _left(found, own, wanted, MORE if found or key in complete else NO_IMAGE)
    found = unsure_groups(unsure, wanted, tar)
    yield found, _left(found, unsure, wanted, MORE)


def _left(found: list[Group], parts: list[Part], wanted: Wanted, reason: str) -> Iterator[tuple[str, Part]]:
    """The members that are neither image nor field of a sample, nor only its label."""
    taken = {group.image.name for group in found}
    taken |= {group.others[field].name for group in found for field in wanted.fields if field in group.others}
    for part in parts:
        if reason == NO_IMAGE and part.label is not None:
            yield LABEL_ALONE, part
        elif part.name not in taken and not (part.spent and reason == MORE):
            yield reason, part


def _complete(group: Group, wanted: Wanted) -> bool:
    labeled = wanted.label == NONE or any(part.label is not None for part in group.others.values())
    return labeled and all(field in group.others for field in wanted.fields)


def _sample(number: int, group: Group, wanted: Wanted, tar: str) -> Sample:
    """The sample that a group makes; UserError for a label that cannot be read, or is not taken for one."""
    part = _label_part(group)
    label = part.label if part else None
    if isinstance(label, ValueError):
        raise UserError(
            f"{tar}: the label of {group.key} cannot be read ({label}): .cls is a whole number, .json has a number or "
            "a name; --label-column names another member or field, --label-column none leaves labels out"
        )
    if part is None and (alike := next((part for part in group.others.values() if part.alike), None)):
        raise UserError(
            f"{tar}: {alike.name} has {alike.alike}, which looks like a label: take it with --label-column "
            f"{alike.alike}, or leave labels out with --label-column none"
        )
    fields = tuple(
        (group.others[f].offset, group.others[f].length) if f in group.others else ABSENT for f in wanted.fields
    )
    image = group.image
    return Sample(number, image.offset, image.length, group.key, image.name, label, fields)


def _label_part(group: Group) -> Part | None:
    """The member with the label; `.cls` and the like go before `.json`."""
    labels = {suffix: part for suffix, part in group.others.items() if part.label is not None}
    return labels.get(label_name(labels) or min(labels, default=""))
