"""What is wrong with a file, and what to do."""

from typing import NamedTuple


class Damage(NamedTuple):
    """A file that is not as it was written."""

    file: str  # path in its folder
    cause: str
    rows: tuple[int, ...] = ()  # samples of a set that are damaged, as far as that is known
    remedy: str = ""  # "": a repair of the set makes the file again


def reason(error: Exception) -> str:
    """Why a file cannot be read, as the cause of a damage."""
    return "is absent" if isinstance(error, FileNotFoundError) else str(error)
