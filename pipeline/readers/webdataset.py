"""The webdataset reader: members of tars at the offsets in the manifest, in any order.

Local tars are read in place, remote tars from a cache.
"""

from ...shards.formats.read import open_tar
from ...shards.manifest import Manifest
from ..batch import SampleReader
from .remote import is_remote
from .remote_tar import RemoteTarReader


def open_reader(manifest: Manifest) -> SampleReader:
    """A reader for the tars of a local or remote set."""
    return RemoteTarReader(manifest) if is_remote(manifest) else open_tar(manifest)
