"""How a checker reports: the part that breaks a law, the law, and what was seen."""


class BrokenLaw(AssertionError):
    """A part does not keep a law of this project; the message names the part, the law and what was observed."""


def require(holds: bool, part: object, law: str, seen: str = "") -> None:
    """BrokenLaw unless `holds`."""
    if not holds:
        name = part if isinstance(part, str) else type(part).__name__
        raise BrokenLaw(f"{name} breaks the law {law!r}" + (f": {seen}" if seen else ""))
