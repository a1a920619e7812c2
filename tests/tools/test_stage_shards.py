"""stage_shards.py: all of a set is in the stage and code 0, or one line that says why not and code 2."""

import re

import pytest

from viewstream.shards.exits import outcome
from viewstream.tools import stage_shards


@pytest.fixture
def staged(built, monkeypatch, capsys):
    """(arguments after those of set and stage) -> code, and what it printed or its error."""
    monkeypatch.setattr(stage_shards.signal, "signal", lambda *_: None)

    def call(*argv):
        monkeypatch.setattr("sys.argv", ["tools/stage_shards.py", *map(str, argv)])
        code, error = outcome(stage_shards.main)
        return code, error or capsys.readouterr().out.strip()

    return call


def test_a_set_is_staged_whole_and_verified_there(built, staged, verified, tmp_path):
    for loader, kinds in (("ffcv", "ffcv"), ("memory", "webdataset"), ("webdataset", "webdataset")):
        code, text = staged(built.root, "--stage", tmp_path, "--loader", loader)
        assert code == 0
        assert text.startswith(f"{tmp_path} has every file of {built.root}, as built: 1 file, "), kinds
    assert verified(tmp_path) == (0, f"{tmp_path} is as it was fetched: 1 set, 2 files\n", "")


def test_a_dry_run_says_what_would_be_copied_and_writes_nothing(built, staged, tmp_path):
    stage = tmp_path / "stage"
    code, text = staged(built.root, "--stage", stage, "--loader", "ffcv", "--dry-run")
    assert (code, stage.exists()) == (0, False)
    (size,) = (f["bytes"] for f in built.info.files if f["file"].endswith(".beton"))
    assert f"to copy  1, {size / 1e9:.3g} GB" in text
    assert re.search(r"free  [\d,]+\.\d GB", text)
    staged(built.root, "--stage", stage, "--loader", "ffcv")
    _, text = staged(built.root, "--stage", stage, "--loader", "ffcv", "--dry-run")
    assert "there already  1, " in text
    assert "to copy  0, 0 GB" in text
    code, error = staged(built.root, "--stage", stage, "--cache-gb", 0, "--dry-run")
    assert code == 2
    assert "fit into --cache-gb" in error


def test_what_cannot_be_staged_is_one_line_with_code_2(built, staged, tmp_path):
    (tmp_path / "file").touch()
    for words, cause in [
        ((), "--stage names no folder"),
        (("--stage", tmp_path / "s", "--cache-gb", "0"), "0 of 1 file of .* fit into --cache-gb"),
        (("--stage", tmp_path / "file"), "cannot be made"),
        (("--stage", tmp_path / "s", "--loader", "folder"), "choose --loader webdataset or ffcv"),
    ]:
        code, text = staged(built.root, *words)
        assert code == 2
        assert re.search(cause, text), text
        assert "\n" not in text
