"""Which field of a `.beton` of other people holds the labels."""

import re

import numpy as np

from ..errors import UserError, choose
from ..formats.beton import Layout
from ..sources.labels import ALIKE, label_name
from ..sources.wanted import NONE

NUMBERING = re.compile(r"(?:^|_)(?:index|idx|ids?|uid|key|number|row|position)(?:_|$)", re.IGNORECASE)


def label_field(layout: Layout, path: object, wanted: str = "") -> str | None:
    """The field of the labels: `wanted`, else the one that is named so, else the only integers that number nothing.

    None without fields that may be labels, or if `wanted` is none. UserError asks where names do not decide."""
    if wanted:
        return None if wanted == NONE else choose("field of labels", wanted, layout.numbers)
    named = label_name([*layout.numbers, *layout.others])
    integers = [name for name, values in layout.numbers.items() if values.dtype.kind == "i"]
    if named in layout.numbers:
        return named
    if not named and len(integers) == 1 and not NUMBERING.search(integers[0]):
        return integers[0]
    unclear = [*([named] if named else ()), *integers, *filter(ALIKE.search, layout.others)]
    if unclear:
        first = integers[0] if integers else NONE
        raise UserError(
            f"{path} does not say which field holds its labels ({', '.join(unclear)}): name it with --label-field "
            f"{first}, for example, or leave labels out with --label-field none"
        )
    return None


def labels_of(layout: Layout, path: object, field: str | None) -> np.ndarray:
    """[N] int64 labels in a field, -1 without one; UserError for floats that are no whole numbers."""
    if field is None:
        return np.full(len(layout.where), -1)
    values = layout.numbers[field]
    with np.errstate(invalid="ignore"):  # of NaN
        label = values.astype(np.int64)
    if (label != values).any():
        odd = values[label != values][0]
        raise UserError(
            f"{path}: field {field} holds {odd}, which is no class: name another field with --label-field, or leave "
            "labels out with --label-field none"
        )
    return label
