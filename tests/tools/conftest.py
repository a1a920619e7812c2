"""A static set made of the built set, and what verify_shards.py answers."""

from typing import NamedTuple

import pytest

from viewstream.shards.exits import outcome
from viewstream.tools import verify_shards
from viewstream.tools.make_static import Static, make

from .frozen_views import SIZE


@pytest.fixture(scope="session")
def static(built, tmp_path_factory):
    """Three images per class, as class folders and as tars."""
    out = tmp_path_factory.mktemp("static") / "pets"
    return make(Static(data=built.root, out=out, per_class=3, size=SIZE, format=("folder", "webdataset"), workers=1))


class Answer(NamedTuple):
    """What a program ended with."""

    code: int
    out: str
    error: str


@pytest.fixture
def verified(monkeypatch, capsys):
    """(arguments) -> the answer of verify_shards.py, in this process."""

    def call(*argv):
        monkeypatch.setattr("sys.argv", ["tools/verify_shards.py", *map(str, argv)])
        capsys.readouterr()
        code, error = outcome(verify_shards.main)
        return Answer(code, capsys.readouterr().out, error)

    return call
