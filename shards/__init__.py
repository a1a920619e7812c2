"""Bytes on disk: sources, subsets, formats, building, care. Uses numpy and pyarrow, never torch.

Reading a built set imports numpy and pyarrow alone; what builds sets is imported when it is first used.
"""

from typing import TYPE_CHECKING

from .errors import UserError
from .faces import hand_on
from .formats.read import BetonReader, FolderReader, TarReader, open_beton, open_folder, open_tar
from .formats.reader import Extents, SampleReader
from .info import DatasetInfo
from .manifest import Manifest
from .memory import in_memory

if TYPE_CHECKING:
    from .building.build import BuildOptions, build
    from .care.verify import verify
    from .sources.detect import open_source
    from .sources.source import Source
    from .subsets.options import SubsetOptions

__all__ = [
    "BetonReader",
    "BuildOptions",
    "DatasetInfo",
    "Extents",
    "FolderReader",
    "Manifest",
    "SampleReader",
    "Source",
    "SubsetOptions",
    "TarReader",
    "UserError",
    "build",
    "in_memory",
    "open_beton",
    "open_folder",
    "open_source",
    "open_tar",
    "verify",
]
__getattr__ = hand_on(
    __name__,
    {
        "BuildOptions": ".building.options",
        "Source": ".sources.source",
        "SubsetOptions": ".subsets.options",
        "build": ".building.build",
        "open_source": ".sources.detect",
        "verify": ".care.verify",
    },
)
