"""A static set made of the built set."""

import pytest

from viewstream.tools.make_static import Static, make

from .frozen_views import SIZE


@pytest.fixture(scope="session")
def static(built, tmp_path_factory):
    """Three images per class, as class folders and as tars."""
    out = tmp_path_factory.mktemp("static") / "pets"
    return make(Static(data=built.root, out=out, per_class=3, size=SIZE, format=("folder", "webdataset"), workers=1))
