"""The meeting of torchrun's launchers (its rendezvous), mended so that no node goes on without the others.

torchrun asks the store of the meeting for nodes that want to join, in the loop in which it watches its ranks. From a
node that is cut off that question takes a quarter of an hour, in which no end of a rank is seen; and when a job has
ended on one node, another one whose ranks are stopped stays. So the question has a thread of its own, and after a while
without a good answer the node ends.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any

ALONE = 30.0  # seconds in which the ranks of a node that is alone end by themselves, and say why
LEAVING = 5.0  # seconds for the goodbye to the other nodes
PAUSE = 0.5  # between two questions


class Alone(Exception):
    """This node has no others, in words."""


class Meeting:
    """What the store of the meeting has answered last. `waiting` asks it, for the number of nodes that wait to join."""

    def __init__(self, waiting: Callable[[Any], int]):
        self._ask, self._waiting, self._alone, self._cause = waiting, 0, 0.0, "does not answer"
        self._thread, self._called = Thread(), time.monotonic()

    def waiting(self, handler: Any) -> int:
        """The number of nodes that wait to join. It returns at once; Alone if no good answer has come for a while."""
        now = time.monotonic()
        self._alone += min(now - self._called, 1.0)  # a restart does not count, nor time in which the node was stopped
        self._called = now
        if not self._thread.is_alive():
            self._thread = Thread(target=self._question, args=(handler,), daemon=True)
            self._thread.start()
        if self._alone > ALONE:
            raise Alone(self._cause)
        return self._waiting

    def _question(self, handler: Any) -> None:
        self._waiting, self._cause = 0, "does not answer"
        with suppress(Exception):  # the errors of the store and of the meeting have no common base
            waiting, ended = self._ask(handler), handler.is_closed()
            if ended:
                self._cause = "says that the job has ended on another node"
            else:
                self._waiting, self._alone = waiting, 0.0
        time.sleep(PAUSE)


def mend() -> None:
    """Mend the meeting of this process, which starts no other one."""
    from torch.distributed.elastic.rendezvous.dynamic_rendezvous import DynamicRendezvousHandler as Handler

    # A node that joins again would look for the address of a store that the others have not left a second time.
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    meeting, leave = Meeting(Handler.num_nodes_waiting), Handler.shutdown

    def shutdown(self: Any) -> bool:
        goodbye = Thread(target=leave, args=(self,), daemon=True)
        goodbye.start()
        goodbye.join(LEAVING)
        return not goodbye.is_alive()

    Handler.num_nodes_waiting = lambda self: meeting.waiting(self)
    Handler.shutdown = shutdown
