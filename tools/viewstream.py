"""The package `viewstream` while `__main__` is a program beside this file: Python looks into its folder first.

So a program runs the code of its own checkout, installed or not, and a Python that lacks what the checkout needs gets
one line instead of a stack trace. Links to this file lie in every folder with programs.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "shards").is_dir())
__path__ = [str(ROOT)]


def _explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """End with one line if a program cannot be imported for want of a package, or on this system."""
    words = error if kind.__name__ == "UserError" else None
    if isinstance(error, ModuleNotFoundError):
        from viewstream.shards.errors import missing

        words = missing(error)
    if words is None or os.environ.get("VIEWSTREAM_TRACE"):
        return sys.__excepthook__(kind, error, trace)
    print(f"error: {words}", file=sys.stderr)
    sys.exit(2)


_absent = [name for name in ("numpy", "PIL", "pyarrow", "simplejpeg", "tqdm") if find_spec(name) is None]
if sys.version_info < (3, 11) or _absent:
    _lack = f"has no {', '.join(_absent)}" if _absent else "is older than 3.11"
    print(
        f"error: {sys.executable} (Python {sys.version_info[0]}.{sys.version_info[1]}) {_lack}: in {ROOT}, "
        "`source .venv/bin/activate` chooses the Python that `make setup` has set up, and `pip install -e .` installs "
        "what is missing into this one",
        file=sys.stderr,
    )
    sys.exit(2)
sys.excepthook = _explain
