"""A checkpoint keeps the versions of the rules of training; a resumed run notes which ones are new to it."""

import pytest
import torch

from viewstream.shards.errors import UserError
from viewstream.trainers.checkpoints.rules import VERSIONS
from viewstream.trainers.recipes.options import BYOL, MoCo
from viewstream.trainers.training.run import Run, pretrain

from ..small_runs import COMMON

COMMON = COMMON | {"epochs": 1}
RECIPES = {
    "moco": (MoCo(**COMMON, queue=16, dim=16, bn_groups=2), ["running statistics", "crops"]),
    "moco-dropout": (MoCo(**COMMON, queue=16, head="dropout"), ["running statistics", "dropout", "crops"]),
    "byol": (BYOL(**COMMON, views="byol", dim=16, hidden=32), ["crops"]),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_checkpoint_of_older_rules_is_resumed_with_a_note_of_each_that_it_used(built, tmp_path, capsys, name):
    recipe, rules = RECIPES[name]
    run = Run(data=str(built.root), loader="webdataset", out=str(tmp_path), device="cpu", resume="auto")
    last = pretrain(recipe, run) / "last.pt"
    pretrain(recipe, run)
    assert "earlier version" not in capsys.readouterr().out
    saved = torch.load(last, weights_only=True)
    assert saved.pop("versions") == VERSIONS
    torch.save(saved, last)
    pretrain(recipe, run)
    notes = [line for line in capsys.readouterr().out.splitlines() if "earlier version" in line]
    assert len(notes) == len(rules)
    for note, rule in zip(notes, rules, strict=True):
        assert note.startswith(f"note: {last} is of an earlier version: from here on, ")
        assert rule in note


@pytest.mark.parametrize(("name", "here"), [("order", VERSIONS["order"]), ("colors", "unknown")])
def test_a_checkpoint_of_a_later_version_is_refused(built, tmp_path, name, here):
    recipe, _ = RECIPES["byol"]
    run = Run(data=str(built.root), loader="webdataset", out=str(tmp_path), device="cpu", resume="auto")
    last = pretrain(recipe, run) / "last.pt"
    saved = torch.load(last, weights_only=True)
    saved["versions"][name] = 7
    torch.save(saved, last)
    with pytest.raises(UserError, match=rf"later version of this project \({name} 7, here {here}\): resume it with"):
        pretrain(recipe, run)
