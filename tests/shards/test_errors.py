"""Mistakes are reported in one line: the nearest names, the extra that is missing."""

import os
import subprocess
import sys

import pytest

from viewstream.shards.errors import UserError, choose, installed, needs, plural


def test_an_unknown_name_suggests_the_nearest_and_lists_all():
    with pytest.raises(UserError, match=r"unknown loader 'fcv': did you mean 'ffcv'\? there are folder, ffcv"):
        choose("loader", "fcv", ["folder", "ffcv"])
    assert choose("loader", "ffcv", ["folder", "ffcv"]) == "ffcv"


@pytest.mark.parametrize(
    ("package", "extra"),
    [("torch", "train"), pytest.param("numba", "train", marks=pytest.mark.full)],
)
def test_a_missing_package_is_an_error_that_names_its_extra(program, built, tmp_path, package, extra):
    absent = tmp_path / f"{package}.py"  # first on the path, so the real package seems not to be installed
    absent.write_text(f'raise ModuleNotFoundError("No module named {package}", name="{package}")')
    argv = ["--data", built.root, "--loader", "webdataset-stream", "--batch-size", 32, "--queue", 64]
    done = program("trainers/train.py", *argv, "--out", tmp_path / "run", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == f"error: {package} is not installed: pip install 'viewstream[{extra}]' brings it\n"


def test_messages_count_one_thing_as_one():
    assert [plural(n, "image") for n in (0, 1, 2000)] == ["0 images", "1 image", "2,000 images"]
    assert [plural(n, "class") for n in (1, 100)] == ["1 class", "100 classes"]


def test_a_module_that_is_no_extra_of_ours_keeps_its_own_error():
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        needs("nowhere")


def test_a_module_is_not_installed_where_its_parent_is_absent():
    assert installed("json.decoder")
    assert not installed("json.nowhere")
    assert not installed("nowhere.inside")


def test_a_mistake_is_one_line_and_the_trace_shows_its_cause(in_process, program, tmp_path):
    torn = tmp_path / "last.pt"
    torn.write_bytes(b"not a checkpoint")
    argv = ("trainers/evaluate.py", "--checkpoint", torn, "--device", "cpu")
    short, traced = in_process(*argv), program(*argv, VIEWSTREAM_TRACE="1")
    assert short.returncode == 2
    assert short.stderr.startswith(f"error: {torn}")
    assert short.stderr.count("\n") == 1
    assert "UnpicklingError" in traced.stderr
    assert "direct cause" in traced.stderr


def test_a_public_name_that_needs_an_absent_package_names_its_extra(tmp_path):
    (tmp_path / "torch.py").write_text('raise ModuleNotFoundError("No module named torch", name="torch")')
    code = "from viewstream.pipeline import Plan, open_loader"
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert "UserError: torch is not installed: pip install 'viewstream[train]' brings it" in done.stderr
