"""What this process is doing, for the watchdog (watchdog.py): each step, batch and write leaves a mark."""

from collections.abc import Callable
from pathlib import Path


class Progress:
    """Marks of this process. `doing` is empty while nothing says how long it may take; `folder` takes the stacks."""

    def __init__(self) -> None:
        self.moves, self.doing, self.compiles, self.folder = 0, "", False, None

    doing: str
    folder: Path | None

    def at(self, doing: str) -> None:
        """This process has moved on, to `doing`: the next mark has to come within --watchdog seconds."""
        self.doing = doing
        self.moves += 1

    def moved(self) -> None:
        """A thread of this process has got further with long work; what the process does stays the same."""
        self.moves += 1

    def rest(self) -> None:
        """What comes now may take its time, until the next mark."""
        self.at("")

    @property
    def limited(self) -> bool:
        """Whether the next mark is awaited."""
        return bool(self.doing) and not self.compiles

    def spare_compiling(self) -> None:
        """Let torch.compile take its time wherever it begins: the first step, and each new size of a batch."""
        from torch._dynamo.callback import callback_handler as compiler  # a second, for runs that compile alone

        for callbacks, compiles in ((compiler.start_callbacks, True), (compiler.end_callbacks, False)):
            callbacks.append(self._compiling(compiles))

    def _compiling(self, compiles: bool) -> Callable[..., None]:
        def note(*_: object) -> None:
            self.compiles = compiles
            self.moves += 1

        return note


progress = Progress()  # one per process, as there is one main thread
