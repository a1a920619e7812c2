"""The command `viewstream`: every program by one name."""

import subprocess
import sys
from pathlib import Path

import pytest

from viewstream.shards import programs
from viewstream.shards.programs import PROGRAMS, as_typed, command, started
from viewstream.tools.console import COMPLETION

from .test_programs import SLOW, answer, without

ROOT = Path(__file__).parents[2]
CONSOLE = ("-m", "viewstream")


def test_every_program_that_a_person_runs_has_a_name():
    files = {
        str(path.relative_to(ROOT))
        for folder in ("tools", "trainers")
        for path in (ROOT / folder).glob("*.py")
        if 'if __name__ == "__main__"' in path.read_text()
    }
    assert {program.file for program in PROGRAMS.values()} == files | {"tools/bench/suite.py"}


def test_help_lists_all_commands_and_the_version_is_said(tmp_path):
    code, out, err = answer(*CONSOLE, "--help", before=without(*SLOW), folder=tmp_path)
    assert (code, err) == (0, "")
    assert all(f"\n  {name} " in out for name in PROGRAMS)
    version = answer(*CONSOLE, "--version", folder=tmp_path)[1].split()[1]
    assert answer("-c", "import viewstream; print(viewstream.__version__)", folder=tmp_path)[1].strip() == version


ALL_HELP = """
import sys
from viewstream.tools.console import start

for name in sys.argv[1:]:
    sys.argv[:] = ["viewstream", name, "--help"]
    try:
        start()
    except SystemExit as end:
        assert not end.code, name
"""


def test_help_of_all_commands_imports_no_torch(tmp_path):
    names = [*PROGRAMS, COMPLETION]
    code, out, err = answer("-c", ALL_HELP, *names, before=without(*SLOW), folder=tmp_path)
    assert (code, err) == (0, "")
    assert all(f"viewstream {name}" in out for name in names)
    assert "python tools/" not in out


@pytest.mark.full
@pytest.mark.parametrize("name", [*PROGRAMS, COMPLETION])
def test_the_help_of_a_command_speaks_of_commands_and_imports_no_torch(name, tmp_path):
    code, out, err = answer(*CONSOLE, name, "--help", before=without(*SLOW), folder=tmp_path)
    assert (code, err) == (0, "")
    assert f"viewstream {name}" in out
    assert "python tools/" not in out


def test_an_unknown_command_is_answered_with_the_nearest(tmp_path):
    code, out, err = answer(*CONSOLE, "verfy", folder=tmp_path)
    assert (code, out) == (2, "")
    assert "did you mean 'verify'" in err
    assert err.endswith("? --help lists them\n")
    assert "textures" not in err
    assert err.count("\n") == 1


def test_an_unknown_option_is_answered_with_the_nearest_and_not_with_all(tmp_path):
    code, _, err = answer(*CONSOLE, "train", "--epoch", 3, folder=tmp_path)
    assert code == 2
    assert "did you mean '--epochs'" in err
    assert "--queue" not in err


def test_messages_name_the_commands_that_the_user_has(tmp_path):
    as_command = answer(*CONSOLE, "inspect", tmp_path / "none", folder=tmp_path)[2]
    as_script = answer("tools/inspect_shards.py", tmp_path / "none", folder=tmp_path)[2]
    assert f"`viewstream build --out {tmp_path / 'none'}`" in as_command
    assert f"`python tools/build_shards.py --out {tmp_path / 'none'}`" in as_script


def test_a_program_is_started_as_the_user_came_in(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["viewstream demo"])
    assert started("tools/look.py") == [sys.executable, "-m", "viewstream", "look"]
    assert command("torchrun trainers/train.py", "--out", "a b") == "viewstream train --out 'a b'"
    assert as_typed("`python tools/unknown.py`") == "`python tools/unknown.py`"
    monkeypatch.setattr(sys, "argv", ["tools/demo.py"])
    assert started("tools/look.py") == [sys.executable, str(programs.ROOT / "tools/look.py")]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_script_of_a_shell_completes_commands_and_options(shell, tmp_path):
    code, out, err = answer(*CONSOLE, "completion", shell, folder=tmp_path)
    assert (code, err) == (0, "")
    assert "--key-momentum" in out
    assert "verify" in out
    if shell == "bash":
        ask = 'COMP_WORDS=(viewstream train --key-mo); COMP_CWORD=2; _shtab_viewstream; echo "${COMPREPLY[@]}"'
        done = subprocess.run(["bash", "-c", f"{out}\n{ask}"], capture_output=True, text=True)
        assert "--key-momentum" in done.stdout
