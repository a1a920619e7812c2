"""Mistakes are said in one line: the nearest names, the extra that is missing."""

import pytest

from viewstream.shards.errors import UserError, choose, needs


def test_an_unknown_name_suggests_the_nearest_and_lists_all():
    with pytest.raises(UserError, match=r"unknown loader 'fcv': did you mean 'ffcv'\? there are folder, ffcv"):
        choose("loader", "fcv", ["folder", "ffcv"])
    assert choose("loader", "ffcv", ["folder", "ffcv"]) == "ffcv"


def test_a_missing_package_is_an_error_that_names_its_extra(program, tmp_path):
    absent = tmp_path / "torch.py"  # comes before the real one on the path and fails as if that were not there
    absent.write_text('raise ModuleNotFoundError("No module named torch", name="torch")')
    done = program("trainers/train.py", "--data", "x", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == "error: torch is not installed: pip install 'viewstream[train]' brings it\n"


def test_the_ffcv_door_without_ffcv_names_the_extra(built, monkeypatch):
    import sys

    from viewstream.pipeline.choose import open_door

    monkeypatch.setitem(sys.modules, "ffcv", None)
    monkeypatch.delitem(sys.modules, "ffcv.reader", raising=False)
    with pytest.raises(UserError, match=r"ffcv is not installed: pip install 'viewstream\[ffcv\]' brings it"):
        open_door("ffcv", built)


def test_a_module_that_is_no_extra_of_ours_keeps_its_own_error():
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        needs("nowhere")
