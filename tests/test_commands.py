"""A command that a message offers can be pasted into a shell, whatever the folders are called."""

import re
import shlex
import shutil

import pytest

from viewstream.pipeline.choose import open_reader, open_set
from viewstream.pipeline.damage import damaged
from viewstream.pipeline.static.listing import listed
from viewstream.shards.care.summary import summary
from viewstream.shards.errors import UserError, command
from viewstream.shards.formats.read import open_beton, open_folder, open_tar
from viewstream.shards.manifest import Manifest
from viewstream.tools import demo, inspect_sheet
from viewstream.trainers.training import run

NAME = "Anna's pets (2026); $HOME"


@pytest.fixture(scope="module")
def odd(built, tmp_path_factory):
    """The built set in a folder whose name a shell would take apart."""
    return Manifest.open(shutil.copytree(built.root, tmp_path_factory.mktemp("sets") / NAME))


def offered(text):
    """The words of the one command in a text, as a shell would pass them on."""
    (found,) = re.findall(r"(?:python|torchrun) (?:tools|trainers)/.*?(?=`|$)", text.strip().splitlines()[-1])
    return shlex.split(found)


def test_only_words_that_need_it_are_quoted():
    assert command("python a.py", "--out", "data/pets", "...") == "python a.py --out data/pets ..."
    assert command("python a.py", "my pets") == "python a.py 'my pets'"


def test_the_commands_that_follow_a_build_and_a_run_can_be_pasted(odd, tmp_path, capsys):
    assert offered(summary(odd))[-1] == str(odd.root)
    run._conclude(tmp_path / NAME, 4, 4)
    assert offered(capsys.readouterr().out)[-1] == str(tmp_path / NAME / "last.pt")


def test_the_demo_prints_its_commands_as_a_shell_takes_them(tmp_path, capfd):
    with pytest.raises(UserError, match="its message above"):
        demo.call("tools/look.py", data=tmp_path / NAME)
    shown = capfd.readouterr().out.splitlines()[1]
    assert shlex.split(shown) == ["$", "python", "tools/look.py", "--data", str(tmp_path / NAME)]


@pytest.mark.parametrize("form", ["webdataset", "ffcv", "folder"])
def test_the_repair_of_an_absent_file_can_be_pasted(odd, tmp_path, form):
    copy = Manifest.open(shutil.copytree(odd.root, tmp_path / NAME))
    for path in copy.root.rglob("*"):
        if path.suffix in (".tar", ".beton", ".jpg"):
            path.unlink()
    with pytest.raises(UserError) as error:
        {"webdataset": open_tar, "ffcv": open_beton, "folder": open_folder}[form](copy).read(0)
    assert offered(str(error.value))[-2:] == [str(copy.root), "--repair"]


def test_the_repair_of_a_damaged_sample_can_be_pasted(odd):
    assert str(odd.root) in offered(str(damaged(odd, open_folder(odd), 0, "no JPEG")))
    with pytest.raises(UserError) as error:
        inspect_sheet.fitted(odd, b"no JPEG", 0)
    assert str(odd.root) in offered(str(error.value))


def test_the_command_that_makes_a_missing_set_can_be_pasted(pets, tmp_path):
    for opened in (lambda: Manifest.open(tmp_path / NAME), lambda: listed(tmp_path / NAME, "normal")):
        with pytest.raises(UserError) as error:
            opened()
        assert offered(str(error.value))[-1] == str(tmp_path / NAME)
    plain = open_set(str(shutil.copytree(pets / "val", tmp_path / "kept" / NAME)))
    with pytest.raises(UserError) as error:
        open_reader("webdataset", plain)
    assert offered(str(error.value))[-1] == str(tmp_path / "kept" / NAME)
