"""What others wrote, unpacked within limits: a file of a few kilobytes can claim, or become, any size.

An image has at most `--max-pixels` pixels. Other files follow one law: what unpacks to more than FREE bytes may take at
most RATIO times its packed size. Lists and tables of images shrink to a tenth at best, images not at all.
"""

import gzip
import io
import json
import zlib
from typing import Any

MAX_PIXELS = 178_956_970  # px, the default of --max-pixels: what Pillow refuses to open has more
FREE = 64 << 20  # bytes
RATIO = 100


def parsed_json(text: str | bytes) -> Any:
    """The value of a JSON text. ValueError when it is none, or is nested more deeply than Python can read."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def gunzip(packed: bytes) -> bytes:
    """The content of a gzip file. ValueError for more than the law allows; OSError, EOFError, zlib.error for damage."""
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        data = file.read(most(len(packed)) + 1)
    return within(data, len(packed))


def inflate(packed: bytes) -> bytes:
    """The content of a zlib stream. ValueError for more than the law allows; zlib.error for damage."""
    stream = zlib.decompressobj()
    data = within(stream.decompress(packed, most(len(packed)) + 1), len(packed))
    if not stream.eof:
        raise zlib.error("incomplete or truncated stream")
    return data


def check_table(metadata: Any, size: int) -> None:
    """ValueError for a Parquet file of `size` bytes, by its `metadata`, with more rows than bytes, or whose columns
    take more memory than the law allows."""
    rows = metadata.num_rows
    if not 0 <= rows <= size:  # a row has a digest or an image of its own
        raise ValueError(f"it claims {rows:,} rows in {size:,} bytes")
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    claimed = sum(max(0, group.total_byte_size) for group in groups)
    if claimed > most(size):
        raise ValueError(f"its {size:,} bytes unpack to {claimed:,}, more than {RATIO} times as many")


def most(packed: int) -> int:
    """Bytes that so many packed bytes may become."""
    return max(FREE, RATIO * packed)


def within(data: bytes, packed: int) -> bytes:
    """The data; ValueError for more than `packed` bytes may become."""
    if len(data) > most(packed):
        raise ValueError(f"its {packed:,} bytes unpack to more than {most(packed):,}")
    return data
