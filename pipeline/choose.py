"""A door by name. The table is all the registry there is; a door's packages are imported when it is opened."""

import importlib

from ..shards.errors import choose
from ..shards.manifest import Manifest
from .batch import Door

DOORS = {"folder": ".folder", "webdataset": ".webdataset", "ffcv": ".ffcv"}


def open_door(name: str, manifest: Manifest) -> Door:
    """The door `name` of a data set; UserError for an unknown name, a missing package or a format not built."""
    choose("loader", name, DOORS)
    return importlib.import_module(DOORS[name], __package__).open_door(manifest)
