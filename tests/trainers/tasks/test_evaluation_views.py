"""An evaluation shows images as the training of the network did: normalized or not, by the recipe of its checkpoint."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from viewstream.trainers.methods.build import build
from viewstream.trainers.recipes import RECIPES
from viewstream.trainers.recipes.options import SimCLR, Supervised
from viewstream.trainers.recipes.tested import evaluation_views
from viewstream.trainers.tasks.options import Knn
from viewstream.trainers.tasks.run import evaluate


@pytest.fixture
def simclr(sets, tmp_path):
    """Options for a checkpoint of SimCLR at 32 px."""
    recipe = SimCLR(arch="test_resnet", size=32, views="simclr_cifar")
    torch.save({"step": 1, "recipe": asdict(recipe), "method": build(recipe).state_dict()}, tmp_path / "last.pt")
    return Knn(checkpoint=str(tmp_path / "last.pt"), k=5, max_k=3, loader="folder", device="cpu", **sets)


def test_a_network_of_simclr_is_evaluated_without_mean_and_deviation_and_the_program_names_its_choice(
    simclr, tmp_path, capsys
):
    found = evaluate(simclr)
    line = "test views: simclr_cifar_evaluation, of the checkpoint's recipe (--test-views names others)"
    assert capsys.readouterr().out.count(line) == 1
    assert found == evaluate(replace(simclr, test_views="simclr_cifar_evaluation"))
    assert "test views:" not in capsys.readouterr().out
    saved = json.loads((tmp_path / "results.json").read_text())
    assert {entry["test_views"] for entry in saved.values()} == {"simclr_cifar_evaluation"}


def test_views_that_are_named_win(simclr, tmp_path):
    evaluate(replace(simclr, test_views="evaluation"))
    (entry,) = json.loads((tmp_path / "results.json").read_text()).values()
    assert (entry["evaluation"], entry["test_views"]) == ("knn evaluation", "evaluation")


def test_each_published_recipe_has_its_views():
    found = {name: evaluation_views(asdict(recipe())) for name, recipe in RECIPES.items()}
    for name, views in found.items():
        recipe = RECIPES[name]()
        if isinstance(recipe, Supervised):
            assert views == recipe.test_views
        elif recipe.views.startswith(("simclr", "sdclr")):
            assert views == ("simclr_cifar_evaluation" if "cifar" in recipe.views else "simclr_evaluation")
        else:
            assert views == ("inat_evaluation" if recipe.views == "inat_slaug" else "evaluation"), name
    assert evaluation_views({}) == evaluation_views({"views": "((RandomResizedCrop(...),),)"}) == "evaluation"
