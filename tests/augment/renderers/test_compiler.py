"""What torch.compile lacks on a device: found before the first step, with a reason."""

import importlib.util
import shutil
import sysconfig

import pytest
import torch

from viewstream.augment.renderers.compiler import missing

GPU = torch.device("cuda", 0)  # naming a GPU needs none


@pytest.fixture
def complete(monkeypatch, tmp_path):
    """A GPU with all that triton needs; the folder of Python's headers."""
    (tmp_path / "Python.h").touch()
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(shutil, "which", lambda name: name if name == "gcc" else None)
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")
    return tmp_path


def test_a_gpu_with_all_that_triton_needs_lacks_nothing(complete):
    assert missing(GPU) == ""


def test_each_thing_that_triton_needs_is_named_where_it_is_absent(complete, monkeypatch):
    (complete / "Python.h").unlink()
    assert "lacks the header Python.h" in missing(GPU)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert missing(GPU) == "no C compiler is on the PATH, which triton needs"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    assert missing(GPU).startswith("Some GPU is older than the compute capability 7.0")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert missing(GPU) == "the package triton is not installed"
