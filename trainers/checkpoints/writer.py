"""One thread for writing files while the caller goes on; its errors come to the caller."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait


class Writer:
    """Does one task at a time in a thread. The interpreter does not end before the task has."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="viewstream-save")
        self._task: Future[None] | None = None

    def start(self, task: Callable[[], None]) -> None:
        """Begin a task once the one before has ended, whose error is raised here."""
        self.finish()
        self._task = self._thread.submit(task)

    def idle(self, seconds: float) -> bool:
        """Whether the task, if there is one, ends within `seconds`."""
        return not self._task or not wait([self._task], seconds).not_done

    def finish(self) -> None:
        """Wait until the task has ended; raise its error, once."""
        if self._task:
            wait([self._task])  # if Ctrl-C ends the waiting, there is still something to wait for
            task, self._task = self._task, None
            task.result()

    def close(self) -> None:
        """`finish`, and end the thread."""
        try:
            self.finish()
        finally:
            self._thread.shutdown()
