"""Command lines: the builder as users run it, in a process of its own; and fields of every type, from words."""

import errno
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest

from viewstream.shards.cli import Positional, Renamed, parse
from viewstream.shards.errors import UserError
from viewstream.shards.exits import outcome
from viewstream.shards.manifest import Manifest

SCRIPT = Path(__file__).parents[2] / "tools" / "build_shards.py"


def call(*argv: object, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("VIEWSTREAM_") and k != "IMAGENET"} | environment
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, argv)], cwd=folder, env=env, text=True, capture_output=True, timeout=60
    )


def test_the_defaults_build_from_imagenet_into_data_shards(tree, tmp_path):
    done = call("--workers", 2, folder=tmp_path, IMAGENET=str(tree))
    assert done.returncode == 0, done.stderr
    made = Manifest.open(tmp_path / "data" / "shards" / "pets-full-train")
    assert made.info.formats == ("webdataset", "ffcv")
    assert "samples  40" in done.stdout
    assert "torchrun trainers/train.py --method moco --loader ffcv --data data/shards/pets-full-train" in done.stdout


def test_a_drawn_subset_is_one_flag_away(tree, tmp_path):
    done = call("--source", tree, "--subset", "lt6", "--draw-subset", "--format", "ffcv,folder", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    made = Manifest.open(tmp_path / "data" / "shards" / "pets-lt6-train")
    assert made.info.formats == ("ffcv", "folder")
    assert made.info.subset["from"] == "draw"


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("--subset lt7", "unknown subset 'lt7': did you mean 'lt' or 'lt8'"),
        pytest.param("--split vall", "did you mean 'val'", marks=pytest.mark.full),
        ("--worker 2", "unknown option '--worker': did you mean '--workers'"),
        pytest.param("--format ffcw", "did you mean 'ffcv'", marks=pytest.mark.full),
        pytest.param("--quality high", "not of the form N", marks=pytest.mark.full),
        pytest.param("--subset lt6", "--draw-subset", marks=pytest.mark.full),
        ("--source nowhere", "train/<class>/<image>.JPEG"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words, answer, tree, tmp_path):
    done = call(*words.split(), folder=tmp_path, IMAGENET=str(tree))
    assert done.returncode == 2
    assert answer in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_a_damaged_image_is_one_line_too_with_workers(tree, tmp_path):
    (tree / "train" / "cat" / "cat_4.JPEG").write_bytes(b"garbage")
    done = call("--source", tree, "--workers", 2, folder=tmp_path)
    assert done.returncode == 2
    assert "cat/cat_4.JPEG is damaged" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "data" / "shards").iterdir())


def test_help_fits_a_screen_and_shows_an_example():
    done = call("--help", folder=SCRIPT.parent)
    assert done.returncode == 0
    assert "python tools/build_shards.py --source" in done.stdout
    assert done.stdout.count("\n") < 90


@dataclass(frozen=True)
class Fields:
    """Fields of every type"""

    dir: Annotated[Path, "a folder, 100 % of it", Positional] = Path()
    count: Annotated[float | Literal["all"], "a number or a word", 0] = 1.0
    draw_subset: Annotated[bool | Literal["release", "paper"], "true alone, or a word"] = False
    name: Annotated[str, "any text"] = "pets"
    out: Annotated[Path | None, "a path or none"] = None
    rate: Annotated[float, "a number", 0] = 0.5
    shuffle: Annotated[bool, "yes or no"] = True
    views: Annotated[str, "a recipe", Renamed("recipe")] = "moco_v2"


def fields(*words: str) -> Fields:
    return parse(Fields(), argv=words, description="Fields as flags.")[0]


def test_a_positional_word_fills_its_field_at_any_place_and_by_name():
    assert fields("here") == fields("--dir", "here") == fields("--dir=here") == Fields(dir=Path("here"))
    assert fields("--rate", "2", "here").dir == fields("here", "--rate", "2").dir == Path("here")
    with pytest.raises(UserError, match="required: DIR"):
        fields()
    with pytest.raises(UserError, match="unknown option 'there'"):
        fields("here", "there")
    with pytest.raises(UserError, match="unknown option '--rat': did you mean '--rate'"):
        fields("here", "--rat", "2")


def test_a_flag_is_true_alone_or_takes_one_of_its_words():
    assert fields("here").draw_subset is False
    assert fields("here", "--draw-subset").draw_subset is True
    assert fields("here", "--draw-subset", "--rate", "2").draw_subset is True
    assert fields("here", "--draw-subset", "release").draw_subset == "release"
    assert fields("here", "--draw-subset=paper").draw_subset == "paper"
    with pytest.raises(UserError, match="--draw-subset: unknown value 'releas': did you mean 'release'"):
        fields("here", "--draw-subset", "releas")


def test_text_paths_numbers_and_switches_become_values():
    words = ("--name", "cats", "--out", "a/b", "--rate", "0", "--no-shuffle")
    assert fields("here", *words) == Fields(Path("here"), name="cats", out=Path("a/b"), rate=0.0, shuffle=False)
    with pytest.raises(UserError, match="--rate: 'fast' is not of the form X"):
        fields("here", "--rate", "fast")
    with pytest.raises(UserError, match="--rate: -1 is less than 0"):
        fields("here", "--rate=-1")


def test_a_number_may_be_a_word_instead():
    assert (fields("here", "--count", "2").count, fields("here", "--count", "all").count) == (2.0, "all")
    with pytest.raises(UserError, match=r"--count: 'al' is not of the form X\|all"):
        fields("here", "--count", "al")


def test_a_renamed_flag_keeps_its_old_name_and_help_names_it(capsys):
    assert fields("here", "--recipe", "byol").views == fields("here", "--views", "byol").views == "byol"
    with pytest.raises(SystemExit):
        fields("--help")
    assert "a recipe (moco_v2); --recipe is its old name" in " ".join(capsys.readouterr().out.split())


def test_help_names_positional_words_choices_and_defaults(capsys):
    with pytest.raises(SystemExit):
        fields("--help")
    shown = capsys.readouterr().out
    assert "DIR                   a folder, 100 % of it" in shown
    assert "--draw-subset [release|paper]" in shown
    assert "any text (pets)" in shown


def test_the_traceback_of_a_fault_shows_no_password():
    program = "import sys; from viewstream.shards.cli import run; run(lambda: {}['http://u:' + 'pw@h/a?sig=' + 'pw'])"
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.endswith("KeyError: 'http://***@h/a?***'\n")
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES])
def test_what_a_disk_refuses_is_one_line_with_the_file_the_reason_and_a_remedy(code, monkeypatch):
    def main():
        raise OSError(code, os.strerror(code), "https://me:secret@host/runs/last.pt")

    ended, words = outcome(main)
    assert ended == 2
    assert words.startswith(f"error: https://***@host/runs/last.pt cannot be read or written ({os.strerror(code)}): ")
    assert "\n" not in words
    monkeypatch.setenv("VIEWSTREAM_TRACE", "1")
    with pytest.raises(OSError, match=os.strerror(code)):
        outcome(main)


def test_a_fault_of_ours_keeps_its_trace():
    def main():
        Path("/nowhere/at/all").read_bytes()

    with pytest.raises(FileNotFoundError):
        outcome(main)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_into_a_full_disk_is_one_line_and_exit_code_2(tree, tmp_path):
    with open("/dev/full", "w") as full:
        command = [sys.executable, str(SCRIPT), "--source", str(tree), "--out", str(tmp_path / "set"), "--workers", "1"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        "error: a file, or standard output, cannot be read or written (No sp"
    )
    assert "Traceback" not in done.stderr
