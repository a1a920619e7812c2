"""Makes tars in memory."""

import io
import tarfile


def tar(members, form=tarfile.GNU_FORMAT):
    """(name, bytes) of each member -> the bytes of a tar."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()
