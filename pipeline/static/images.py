"""Which images a static set shows, and what they and their classes are called there."""

from collections.abc import Iterable

import numpy as np

from ...shards.errors import UserError
from ...shards.info import first_twice
from ...shards.manifest import Manifest
from ...shards.names import safe


def chosen(manifest: Manifest, per_class: int) -> np.ndarray:
    """Rows [M] int64 of the first `per_class` images of each class by key, class by class."""
    manifest.require_labels("a static set")
    order = np.lexsort((np.array(manifest.keys), manifest.label))
    label = manifest.label[order]
    number = np.arange(len(order)) - np.searchsorted(label, label)  # of an image in its class
    return order[number < per_class]


def names_of(manifest: Manifest, rows: np.ndarray) -> dict[int, str]:
    """<class>/<image> of each of `rows`; UserError for a class whose folder would be elsewhere, or for two images with
    one name, as two folders of one class may have them."""
    classes = [safe(name, manifest.root, "set") for name in manifest.info.classes]
    stems = (key.rpartition("/")[2] for key in manifest.strings("key", rows))
    labels = manifest.label[rows].tolist()
    names = [f"{classes[label]}/{stem}" for label, stem in zip(labels, stems, strict=True)]
    if twice := first_twice(names):
        raise UserError(f"{manifest.root} has two images {twice}, whose files would be one: rename one at its source")
    return dict(zip(rows.tolist(), names, strict=True))


def classes_of(names: Iterable[str]) -> tuple[str, ...]:
    """The classes of <class>/<image>, sorted, as readers of class folders number them."""
    return tuple(sorted({name.rpartition("/")[0] for name in names}))
