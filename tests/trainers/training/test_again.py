"""Every method through the command line: a step that is taken again has the loss of the run."""

import json

import pytest

from ..small_runs import WORDS, losses


@pytest.mark.full
@pytest.mark.parametrize("name", WORDS)
def test_every_method_repeats_the_loss_of_a_step_to_the_bit_and_has_it_for_each_image(program, words, tmp_path, name):
    done = program(*words(name, "--keep-every", 1, "--out", tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    for step, more in ((9, ()), (4, ("--from-start",))):
        done = program("tools/replay.py", tmp_path / "run", "--step", step, "--losses", "--json", *more)
        assert done.returncode == 0, done.stderr
        page = json.loads(done.stdout)
        assert (page["loss"], page["exact"]) == (losses(tmp_path / "run")[step], True)
        each = [row["loss"] for row in page["images"]]
        assert sum(each) / len(each) == pytest.approx(page["loss"], rel=1e-5)
