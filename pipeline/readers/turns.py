"""The tars of an order in turn, each with the rows that it is read for, while the order is still being computed."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ...shards.errors import UserError
from ...shards.manifest import Manifest

FEW = 64  # parts of a window


@dataclass
class Turn:
    """A tar that is read once."""

    shard: int
    begin: int  # bytes of samples that the order reads before the first of this tar
    times: dict[int, int] = field(default_factory=dict)  # how often each row is read
    bytes: int = 0  # of these rows
    late: int = 0  # of those that come too long after the first


def turns(rows: Iterator[np.ndarray], manifest: Manifest, room: int, refusal: str) -> Iterator[Turn]:
    """The shards of `rows` in the order of their first use; twice `room` bytes of samples are known ahead.

    A turn has the rows of its shard that are known then. Later ones have a turn of their own, as at the end of a padded
    epoch. UserError, `refusal`, for an order that mixes too many shards: rows come further than `room` bytes after the
    first one of their shard, more of them than the beginning that a padded epoch repeats.
    """
    waiting: dict[int, Turn] = {}
    order, known, ahead, late = _flat(rows, manifest), 0, 0, 0  # bytes of the rows so far, of those that wait
    one = (0, 0, 0)
    while True:
        while ahead <= (3 if late > room / FEW else 2) * room and (one := next(order, None)):
            row, shard, size = one
            turn = waiting.setdefault(shard, Turn(shard, known))
            turn.times[row] = turn.times.get(row, 0) + 1
            if turn.times[row] > 1:
                continue
            known += size
            ahead += size
            turn.bytes += size
            if known - turn.begin > room:
                turn.late += size
                late += size
        if late > room / (FEW if one else 2):  # at the end of an epoch its beginning may come again
            raise UserError(refusal)
        if not waiting:
            return
        turn = waiting.pop(next(iter(waiting)))
        ahead -= turn.bytes
        late -= turn.late
        yield turn


def _flat(rows: Iterator[np.ndarray], manifest: Manifest) -> Iterator[tuple[int, int, int]]:
    """The rows one by one, with the shard and the bytes of each."""
    for part in rows:
        yield from zip(part.tolist(), manifest.shard[part].tolist(), manifest.bytes[part].tolist(), strict=True)
