"""The label in a small member of a tar: `.cls` and the like as text, or a field of a `.json`."""

from typing import Any

from ..unpack import parsed_json
from .images import SUFFIXES
from .labels import ALIKE, LABELS, Label, label_name, label_of
from .wanted import NONE, Wanted

OURS = {"key", "height", "width"}  # what the .json of a build holds besides the label
Note = tuple[Label | ValueError, str, bool]  # Part's label, alike and spent


def is_note(suffix: str, wanted: Wanted) -> bool:
    """Whether a member with this suffix can hold a label, so its content is needed."""
    return wanted.label != NONE and (_is_json(suffix) or _is_text(suffix, wanted))


def note(suffix: str, data: bytes, wanted: Wanted) -> Note:
    """What a member tells about the label of its sample."""
    if is_note(suffix, wanted):
        try:
            return _in_json(parsed_json(data), wanted) if _is_json(suffix) else (_in_text(data, wanted), "", True)
        except ValueError as error:
            return ValueError(str(error)), "", not _is_json(suffix)
    alike = not wanted.label and ALIKE.search(suffix) and f".{suffix.rpartition('.')[2]}" not in SUFFIXES
    return None, suffix if alike else "", False


def _is_json(suffix: str) -> bool:
    return suffix.rpartition(".")[2] == "json"


def _is_text(suffix: str, wanted: Wanted) -> bool:
    """Whether the suffix names a label: `cls`, or `v1.cls`, or `cls.txt`."""
    if wanted.label:
        return suffix == wanted.label.lower()
    return suffix.removesuffix(".txt").rpartition(".")[2] in LABELS


def _in_text(data: bytes, wanted: Wanted) -> Label:
    """A number; a name only in a member that was named by the user."""
    try:
        return label_of(int(data))
    except ValueError:
        if not wanted.label:
            raise
        return label_of(data.decode().strip())


def _in_json(page: Any, wanted: Wanted) -> Note:
    """The label in a .json: the number that it is, or a field of it, also one of a nested object, as `object.field`."""
    if not isinstance(page, dict):
        return (page if type(page) is int and not wanted.label else None), "", type(page) is int
    fields = page | {
        f"{name}.{n}": v for name, inner in page.items() if isinstance(inner, dict) for n, v in inner.items()
    }
    name = wanted.label if wanted.label in fields else label_name(page) if not wanted.label else None
    if name is None:
        alike = [n for n, v in fields.items() if ALIKE.search(n) and isinstance(v, int | str)]
        return None, alike[0] if alike and not wanted.label else "", page.keys() <= OURS
    return label_of(fields[name]), "", page.keys() <= OURS | {name}
