"""Cases of programs that measure."""

import importlib
from pathlib import Path

import pytest


@pytest.fixture
def cases(monkeypatch):
    """Cases that a process of its own can import, which gets the path of this one."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("bench_cases")
