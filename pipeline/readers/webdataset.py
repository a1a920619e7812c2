"""The webdataset reader: members of tars by the offsets that the manifest keeps, in exact global order.

Local tars are read as they lie, remote ones out of a cache.
"""

from ...shards.formats.read import open_tar
from ...shards.manifest import Manifest
from ..batch import SampleReader
from .remote import RemoteTarReader, is_remote


def open_reader(manifest: Manifest) -> SampleReader:
    """The tars of a set, wherever it was opened from."""
    return RemoteTarReader(manifest) if is_remote(manifest) else open_tar(manifest)
