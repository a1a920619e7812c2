"""Begin MoCo or KCL from another checkpoint, queue included, as ssl-small's --restart does (spec: small A.6)."""

from pathlib import Path

from ...shards.errors import UserError
from ..methods.kcl import KCL
from ..methods.moco import MoCo
from ..methods.parts import ema_
from .files import State
from .layouts import read
from .loading import Loaded, Match, match_state_dict, unfit


def restart(method: MoCo, path: Path, *, ema: bool = False) -> Loaded:
    """Fill MoCo from a SEED student or another MoCo run.

    Every entry of equal shape is taken, also a queue, even of a teacher; then the key encoder gets the online weights.
    Unlike in the release, the pointer of a queue of another shape is left out with it, and a backbone that lacks an
    entry is an error.
    """
    weights = read(path, ema=ema)
    kept, dropped = [], []
    for net, state in ((method.online, weights.online), (method.target, weights.target)):
        take, left, wrong = match_state_dict(net, state) if state else Match({}, [], [])
        if backbone := [entry for entry in wrong if not entry.startswith("fc.")]:
            raise unfit(path, weights, backbone)
        net.load_state_dict(take, strict=False)
        kept, dropped = kept + list(take), dropped + left + wrong
    ema_(method.target, method.online, 0.0)
    queues = _fill_queues(method, weights.others)
    dropped += [name for name in weights.others if name not in queues]
    return Loaded(weights.kind, kept + queues, dropped, weights.averaged, weights.beside)


def _fill_queues(method: MoCo, others: State) -> list[str]:
    """Take a queue of equal shape, with its pointer; returns the entries taken."""
    rows = others["queue"].mT if "queue" in others and others["queue"].ndim == 2 else others.get("queue.rows")  # [K, D]
    head = others.get("queue_ptr" if "queue" in others else "queue.head")
    if rows is None or head is None or rows.shape != method.queue.rows.shape:
        return []
    if head.numel() != 1 or head.is_floating_point() or not 0 <= int(head) < len(rows):
        raise UserError("the pointer of the queue lies outside of it: name another")
    method.queue.rows.copy_(rows)
    method.queue.head.copy_(head.reshape(()))
    taken = [name for name in others if name.startswith("queue")]
    return taken + _fill_labels(method, others) if isinstance(method, KCL) else taken


def _fill_labels(method: KCL, others: State) -> list[str]:
    """Take the labels of the keys just taken; without labels, none of these keys is a positive."""
    method.label_queue.head.copy_(method.queue.head)
    name = "label_queue" if "label_queue" in others else "label_queue.rows"
    if name not in others or others[name].shape != method.label_queue.rows.shape:
        return []
    method.label_queue.rows.copy_(others[name])
    return [name for name in others if name.startswith("label_queue")]
