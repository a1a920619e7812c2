"""The identity of a data set: one digest of what training and evaluation see of it, whatever its formats."""

import hashlib
import json
from collections.abc import Sequence

import numpy as np


def identity_of(classes: Sequence[str], uid: np.ndarray, label: np.ndarray, *content: np.ndarray | bytes) -> str:
    """sha256, in hexadecimal, of the class names, the uids [N], the labels [N], and what tells the images' content.

    The content is the sha256 column of a set that was built or indexed; sizes and times of files where there is none.
    The order of rows counts, because sample ids are positions; the files' offsets and formats do not.
    """
    columns = (np.ascontiguousarray(uid, "<u8"), np.ascontiguousarray(label, "<i4"), *content)
    digest = hashlib.sha256(json.dumps([list(classes), *map(len, columns)]).encode())
    for column in columns:
        digest.update(column if isinstance(column, bytes) else np.ascontiguousarray(column).data)
    return digest.hexdigest()
