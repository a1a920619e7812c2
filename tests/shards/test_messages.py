"""What library code has to say: silent in other projects, printed by programs."""

import ast
import logging
from pathlib import Path

import pytest
from PIL import Image

from viewstream.shards import messages
from viewstream.shards.engine import in_order
from viewstream.shards.progress import Bar

ROOT = Path(__file__).parents[2]
PROGRAMS = {"train.py", "evaluate.py", "torchrun.py", "viewstream.py"}  # of trainers/, which print their results
PRINTING = {
    "shards/progress.py": "prints the messages of programs",
    "trainers/launch.py": "the last words of a program",
    "pipeline/readers/stager.py": "a fault of ours",
}
WARNING = "has one class only, eel: labels will say nothing"
BUILD = """
import sys
from viewstream.shards import BuildOptions, build
build(BuildOptions(source=sys.argv[1], out=sys.argv[2], workers=1))
"""


@pytest.fixture(scope="module")
def one_class(tmp_path_factory):
    """A source of one class, which a build warns of."""
    folder = tmp_path_factory.mktemp("source") / "train/eel"
    folder.mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (40, 50), (number, 0, 0)).save(folder / f"{number}.jpg")
    return folder.parents[1]


def test_the_library_prints_nothing_in_another_project(program, one_class, tmp_path):
    done = program("-c", BUILD, one_class, tmp_path / "set")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_project_that_sets_up_logging_gets_the_messages_of_each_module(program, one_class, tmp_path):
    begin = "import logging; logging.basicConfig(level=logging.INFO, format='%(levelname)s %(name)s: %(message)s')"
    done = program("-c", f"{begin}\n{BUILD}", one_class, tmp_path / "set")
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("WARNING viewstream.shards.sources.imagefolder: warning: ")
    assert line.endswith(WARNING)


def test_a_program_prints_a_warning_once_on_standard_error(program, one_class, tmp_path):
    done = program("tools/build_shards.py", "--source", one_class, "--out", tmp_path / "set", "--workers", 1)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: ")
    assert line.endswith(WARNING)
    assert WARNING not in done.stdout


@pytest.mark.full
def test_a_training_in_another_project_prints_nothing(program, built, tmp_path):
    code = """
import sys
from viewstream.trainers import Run, pretrain
from viewstream.trainers.recipes.options import MoCo
recipe = MoCo(arch="test_resnet", size=32, batch_size=32, queue=64, dim=16, epochs=2, bn_groups=2)
run = Run(data=sys.argv[1], val=sys.argv[1], eval_every=1, knn_k=5, out=sys.argv[2], loader="ffcv", device="cpu")
pretrain(recipe, run)
"""
    done = program("-c", code, built.root, tmp_path / "run")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_facts_go_to_standard_output_and_notes_to_standard_error(capsys):
    log = logging.getLogger("viewstream.pipeline.some")
    log.info("8 images")
    log.warning("note: slow")
    assert capsys.readouterr() == ("8 images\n", "note: slow\n")


def test_facts_stand_aside_where_standard_output_is_a_document(capsys):
    with messages.aside():
        logging.getLogger("viewstream.pipeline.some").info("8 images")
    assert capsys.readouterr() == ("", "8 images\n")


def test_worker_processes_print_their_messages_as_their_parent_does(capfd):
    work = logging.getLogger("viewstream.shards.some").warning
    for prints in (True, False):
        if not prints:
            logging.getLogger("viewstream").removeHandler(messages._printer)
        assert [*in_order(work, ["note: a", "note: b"], workers=2)] == [None, None]
        assert sorted(capfd.readouterr().err.splitlines()) == ["note: a", "note: b"] * prints
    messages.begin_printing()  # as in all tests


def test_messages_are_printed_within_a_program_alone():
    logger = logging.getLogger("viewstream")
    logger.removeHandler(messages._printer)
    with messages.printed():
        assert messages.printing()
        with messages.printed():
            pass
        assert messages.printing()
    assert not messages.printing()
    messages.begin_printing()  # as in all tests


def test_a_message_stands_above_the_bar_of_a_terminal(terminal):
    with terminal() as until:
        with Bar(4, "img", "reading") as bar:
            bar.update()
            logging.getLogger("viewstream.shards.some").warning("note: slow")
        shown = until("end")
    assert "\rnote: slow\r\n" in shown  # the bar was cleared, and is drawn again below
    assert "1/4" in shown.partition("note: slow")[2]


def test_a_message_beside_lines_of_progress_has_no_carriage_return(capsys):
    with Bar(4, "img", "reading"):
        logging.getLogger("viewstream.shards.some").warning("note: slow")
    assert capsys.readouterr().err == "note: slow\n"


def test_library_modules_do_not_print():
    found = set()
    for top in ("shards", "augment", "pipeline", "trainers", "testing"):
        for path in (ROOT / top).rglob("*.py"):
            calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
            if any(isinstance(call, ast.Name) and call.id == "print" for call in calls):
                found.add(str(path.relative_to(ROOT)))
    assert found - {f"trainers/{name}" for name in PROGRAMS} == {*PRINTING}
