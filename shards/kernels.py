"""Numba kernels whose machine code stays on disk: what is not compiled yet is compiled before it is needed, with a bar,
once on a machine. Each module has a process of its own for that, since numba compiles one function at a time.

A module of kernels takes `njit` from here and has a function `warm_up()` that calls each kernel that Python calls.
"""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numba
from numba.core import event
from tqdm import tqdm

from .progress import disabled

LOG = logging.getLogger(__name__)

try:
    import fcntl
except ImportError:  # errors.py says on which systems this project runs
    fcntl = None

COMPILING = "numba:compile"


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """numba's decorator; `cache` holds where there is a folder for machine code, else each process compiles."""

    jit: Any = numba.njit

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return jit(**options)(function)
        except RuntimeError:  # numba's only one here: it finds no folder that it can write
            return jit(**options | {"cache": False})(function)

    return decorate


def ready(modules: Mapping[str, str]) -> None:
    """Have all kernels compiled and loaded: what they do -> the full name of their module.

    Processes that find the same kernels cold compile them once: the first one does, the others wait for it.
    """
    folders = {what: _cold(module) for what, module in modules.items()}
    cold = [folder for folder in folders.values() if folder is not None]
    if "" in cold and os.environ.get("RANK", "0") == "0":
        LOG.warning(
            "note: numba finds no folder that it can write machine code to, so kernels are compiled at each start; "
            "NUMBA_CACHE_DIR=DIR in the environment names one"
        )
    if kept := sorted(filter(None, cold)):
        with _alone(Path(kept[0])):
            todo = {what: module for what, module in modules.items() if folders[what] and _cold(module) is not None}
            if todo:
                _compile(todo)
    for what, module in modules.items():
        if folders[what] is not None:
            import_module(module).warm_up()


class _Cold(Exception):
    """Numba is about to compile; its argument is the folder of the machine code, empty without one."""


class _Stop(event.Listener):
    """Stops numba where it would compile, on the thread that made this."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()

    def on_start(self, event: Any) -> None:
        if threading.get_ident() == self.thread:
            raise _Cold(event.data["dispatcher"].stats.cache_path or "")

    def on_end(self, event: Any) -> None:
        pass


def _cold(module: str) -> str | None:
    """None if all kernels of a module are loaded now; else the folder for their machine code, empty without one."""
    stop = _Stop()
    event.register(COMPILING, stop)
    try:
        import_module(module).warm_up()
    except _Cold as cold:
        return str(cold)
    finally:
        event.unregister(COMPILING, stop)
    return None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time works inside; without a lock where the file system has none."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "compiling.lock").open("w") as file:
        with suppress(OSError):
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _compile(modules: Mapping[str, str]) -> None:
    """Let a process compile each module; one that fails leaves its kernels to the caller, who shows the error."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def work(module: str) -> None:
        command = [sys.executable, "-c", f"import {module} as kernels; kernels.warm_up()"]
        subprocess.run(command, env=environment, capture_output=True, check=False)

    about = f"compiling kernels for {', '.join(modules)}: once on this machine"
    with (
        tqdm(total=len(modules), desc=about, unit="module", disable=disabled()) as bar,
        ThreadPoolExecutor(len(modules)) as pool,
    ):
        for _ in pool.map(work, modules.values()):
            bar.update()
