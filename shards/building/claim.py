"""The lock of a build on an object store: an object that a conditional put makes, renewed while the build runs.

A killed build leaves it. The next one takes it over at once if the process was one of this machine and is dead, else
after STALE seconds without a renewal, which it waits for: clocks of machines are not compared.
"""

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import UserError
from ..info import JSON
from ..unpack import parsed_json
from .folder import BUILDING
from .object_store import Store

LOG = logging.getLogger(__name__)

CLAIM = f"{BUILDING}/lock"
RENEW, STALE, SETTLE = 10.0, 90.0, 1.0  # s between renewals; without one until a lock is taken over; after that


class Claim:
    """A lock that this process holds; a thread renews it."""

    def __init__(self, store: Store) -> None:
        self.store, self.lost, self._end = store, False, threading.Event()
        self.own: JSON = {"id": uuid.uuid4().hex, "host": os.uname().nodename, "pid": os.getpid()}
        self.own |= {"machine": machine(), "born": born(os.getpid())}
        self.thread = threading.Thread(target=self._renew, daemon=True)

    def content(self) -> bytes:
        """What the object holds now: who made it, and when."""
        return json.dumps(self.own | {"time": time.time()}).encode()

    def mine(self) -> bool:
        """Whether the object is still that of this process."""
        return (holder(self.store) or {}).get("id") == self.own["id"]

    def check(self, sure: bool = False) -> None:
        """UserError once another build has taken the lock over, as the last renewal saw, or as a read sees now."""
        if self.lost or (sure and not self.mine()):
            raise UserError(
                f"another build took over {self.store.show()}, because this one gave no sign of life for {STALE:.0f} s"
            )

    def _renew(self) -> None:
        while not self._end.wait(RENEW):
            with suppress(UserError):  # the network may come back
                self.lost = not self.mine()
                if self.lost:
                    return
                self.store.write(CLAIM, self.content())

    def release(self) -> None:
        """End the renewals and remove the object, unless another build has it."""
        self._end.set()
        self.thread.join(RENEW)
        with suppress(UserError):  # without a network it stays, and is taken over
            if self.mine():
                self.store.remove(CLAIM)


@contextmanager
def claimed(store: Store) -> Iterator[Claim]:
    """Hold the lock of a build in `store` within the block. UserError while another build holds it, or from a store
    without conditional puts."""
    _require_conditions(store)
    claim = Claim(store)
    if not store.create(CLAIM, claim.content()) and not claim.mine():  # it is ours if an answer was lost
        _take_over(claim)
    claim.thread.start()
    try:
        yield claim
    finally:
        claim.release()


def _require_conditions(store: Store) -> None:
    """Refuse a store that makes an object twice, as those do that ignore the condition of a put."""
    name = f"{BUILDING}/conditional-{uuid.uuid4().hex}"
    try:
        knows = store.create(name, b"1") and not store.create(name, b"2")
    except NotImplementedError:
        knows = False
    finally:
        store.remove(name)
    if not knows:
        raise UserError(
            f"{store.show()} takes no conditional puts, so two builds there could not see each other: start one alone, "
            "with --no-lock"
        )


def _take_over(claim: Claim) -> None:
    """Take the lock from a dead build; UserError for one that lives. Of two that try at once, the later one has it."""
    store, before = claim.store, holder(claim.store)
    if before is not None and (alive := _alive_here(before)) is not False:
        if alive:
            raise _busy(store, before)
        LOG.warning(f"note: {store.show()} is locked by {_who(before)}: {STALE:.0f} s for a sign of life")
        _await_stale(store, before)
    store.remove(CLAIM)
    if store.create(CLAIM, claim.content()) or claim.mine():
        time.sleep(SETTLE)
    if not claim.mine():
        raise _busy(store, holder(store))


def _await_stale(store: Store, before: JSON) -> None:
    until = time.monotonic() + STALE
    while time.monotonic() < until:
        time.sleep(min(RENEW / 4, STALE / 4))
        if (now := holder(store)) != before:
            if now is None:
                return
            raise _busy(store, now)


def _busy(store: Store, page: JSON | None) -> UserError:
    return UserError(
        f"another build ({_who(page or {})}) is writing {store.show()}: wait for it, or name another --out"
    )


def _who(page: JSON) -> str:
    return f"process {page.get('pid')} on {page.get('host')}"


def _alive_here(page: JSON) -> bool | None:
    """Whether the process of a lock runs on this machine; None if it is of another one."""
    process = page.get("pid")
    if not isinstance(process, int) or not machine() or page.get("machine") != machine():
        return None
    return born(process) == page.get("born")


def machine() -> str:
    """This start of this machine, and the numbers of processes that this one sees; "" on a system that has no name
    for them."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def born(process: int) -> str:
    """When a process began, in ticks of this machine; "" when there is none. Numbers of processes come again."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def holder(store: Store) -> JSON | None:
    """What the lock says; {} if it is torn, None if there is none."""
    try:
        page = parsed_json(store.read(CLAIM))
        return page if isinstance(page, dict) else {}
    except FileNotFoundError:
        return None
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        return {}
