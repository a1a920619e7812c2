"""What a job that hangs leaves: one line that names ranks and places, and the stacks of each process."""

import faulthandler
import logging
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

from .marks import progress

LOG = logging.getLogger(__name__)

PATIENCE = 3.0  # seconds for a file system that may be what hangs


def in_words(seconds: int, gone: list[int], here: Mapping[int, str], hosts: Mapping[int, str]) -> str:
    """A hang of `seconds` in one line: the ranks that are `gone`, and what the ranks that are `here` do. Where they are
    on several `hosts`, these are named."""
    several = len({host for host in hosts.values() if host}) > 1  # a rank that has left no beat has no name
    places: dict[str, list[int]] = {}
    for rank, doing in here.items():
        places.setdefault(doing or "its beginning or end", []).append(rank)
    rarest = sorted(places.items(), key=lambda place: len(place[1]))
    stand = ", ".join(f"{_ranks(ranks, hosts if several else {})} at {doing}" for doing, ranks in rarest)
    kept = f" and in {progress.folder}/stacks-rank-*.txt" if progress.folder else ""
    fact = f"no process has moved for {seconds} s: {stand}"
    if gone:
        verb = "has" if len(gone) == 1 else "have"
        cause = "stopped, gone, or cut off from the network" if several else "stopped, or gone"
        fact = f"{_ranks(gone, hosts if several else {})} {verb} been silent for {seconds} s ({cause}): {stand}"
    return (
        f"{fact}; the stacks above{kept} say where: mend that and start again with --resume auto (a training), or "
        f"wait longer with --watchdog {2 * seconds}"
    )


def _ranks(numbers: list[int], hosts: Mapping[int, str]) -> str:
    """`ranks 0, 1 (node-1), 2 (node-2)`: the host after the last of its ranks, where `hosts` has it."""
    names = []
    for number, following in zip(numbers, [*numbers[1:], None], strict=True):
        last = following is None or hosts.get(following) != hosts.get(number)
        names.append(f"{number} ({hosts[number]})" if last and hosts.get(number) else str(number))
    return f"rank{'s' * (len(numbers) > 1)} {', '.join(names)}"


def dump(rank: int) -> None:
    """Write the stacks of all threads of this process to standard error and, if that can be written, to the folder."""
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        text = f"rank {rank}, at {progress.doing or 'its beginning or end'}:\n{file.read().decode()}"
    sys.stderr.write(f"\n{text}\n")
    sys.stderr.flush()
    if progress.folder:
        write = threading.Thread(target=_keep, args=(progress.folder / f"stacks-rank-{rank}.txt", text), daemon=True)
        write.start()
        write.join(PATIENCE)


def _keep(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        LOG.warning(f"note: {path} cannot be written ({error.strerror})")
