"""Every method: a step that is taken again has the loss of the run."""

import json

import pytest

from viewstream.shards.cli import parse
from viewstream.tools import replay
from viewstream.trainers.recipes import recipe_named

from ..small_runs import COMMON_WORDS, WORDS, losses


@pytest.mark.full
@pytest.mark.parametrize("name", WORDS)
def test_every_method_repeats_the_loss_of_a_step_to_the_bit_and_has_it_for_each_image(
    name, run, moco, monkeypatch, capsys
):
    (recipe,) = parse(recipe_named("", name), argv=[*COMMON_WORDS, *WORDS[name]], description="")
    folder = run("run", recipe, keep_every=1, teacher=str(moco / "last.pt") if name == "seed" else "")
    for step, more in ((9, ()), (4, ("--from-start",))):
        words = ("--step", str(step), "--losses", "--json", *more)
        monkeypatch.setattr("sys.argv", ["tools/replay.py", str(folder), *words])
        capsys.readouterr()
        replay.main()
        page = json.loads(capsys.readouterr().out)
        assert (page["loss"], page["exact"]) == (losses(folder)[step], True)
        each = [row["loss"] for row in page["images"]]
        assert sum(each) / len(each) == pytest.approx(page["loss"], rel=1e-5)
