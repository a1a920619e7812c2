"""A plan predicts what loaders cost within a quarter, and names what limits a training and what to take."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from viewstream.augment.recipes import views_of
from viewstream.augment.spec import RandomResizedCrop
from viewstream.shards.errors import UserError
from viewstream.tools.plan import Question, answer, images_of, number
from viewstream.tools.plan_cluster import around, build_cost
from viewstream.tools.plan_model import Costs, Image, of_side, ways
from viewstream.tools.plan_text import nearby
from viewstream.trainers.recipes import recipe_named

COSTS = Path(__file__).parents[2] / "docs/results/cpu/costs.json"
POINTS = json.loads(COSTS.read_text())["loaders"] if COSTS.exists() else {"about": {}, "cpu": {}}
FFCV = 860  # images/s per core at 512 px, quality 90, one crop of 224 px: docs/benchmarks.rst of ffcv, 12 cores
MOCO = recipe_named("moco_v2")


@pytest.fixture(scope="module")
def costs():
    return Costs.load(COSTS)


@pytest.mark.parametrize("name", POINTS["about"])
def test_a_measured_loader_is_predicted_within_a_quarter(costs, name):
    about, measured = POINTS["about"][name], sorted(POINTS["cpu"][name])
    image = Image(about["megapixels"], about["kilobytes"])
    predicted = sum(costs.host(image, views_of(about["recipe"], about["size"]), "webdataset").values())
    assert predicted == pytest.approx(measured[len(measured) // 2], rel=0.25)


def test_a_core_with_one_crop_is_near_the_published_core_of_ffcv(costs):
    """Another processor and another decoder of the same family: the same order, not the same number."""
    one = ((RandomResizedCrop(224, (0.08, 1.0)),),)
    rate = 1e6 / sum(costs.host(of_side(512), one, "ffcv").values())
    assert FFCV / 2 < rate < 2 * FFCV


def test_more_views_larger_images_and_larger_views_cost_more_and_a_gpu_takes_work_off_the_host(costs):
    def cost(side, recipe, size):
        return sum(costs.host(of_side(side), views_of(recipe, size), "ffcv").values())

    assert cost(400, "moco_v2", 224) < cost(400, "swav", 224)
    assert cost(224, "moco_v2", 96) < cost(320, "moco_v2", 96) < cost(500, "moco_v2", 96)
    assert cost(400, "moco_v2", 96) < cost(400, "moco_v2", 224)
    host, device, gpu = ways(costs, of_side(400), views_of("moco_v2", 224))
    assert host.rate < device.rate < gpu.rate


def test_without_a_rate_only_the_host_is_answered_and_the_plan_says_how_to_get_one(costs):
    text = "\n".join(answer(Question(gpus=8, cores=64), replace(MOCO, arch="no_such_net"), costs))
    assert "no rate of moco, no_such_net on a GPU is known: `make gpu PART=train` measures it, --step-rate" in text
    assert "limits" not in text
    assert "1,280,000 images" in text


def test_a_slow_gpu_limits_and_a_fast_one_is_fed_by_the_way_that_needs_enough_cores(costs):
    host, device, _ = ways(costs, of_side(400), views_of("moco_v2", 224))
    slow = "\n".join(answer(Question(gpus=2, cores=8, step_rate=host.rate), MOCO, costs))
    assert "limits on 8 cores: the step" in slow
    assert "take: --loader ffcv --crops host --workers 4" in slow
    between = (host.rate + device.rate) / 2
    assert "--crops device" in "\n".join(answer(Question(gpus=8, cores=8, step_rate=between), MOCO, costs))
    beyond = "\n".join(answer(Question(gpus=8, cores=8, step_rate=10**6), MOCO, costs))
    assert "limits on 8 cores: handing over" in beyond or "limits on 8 cores: read" in beyond
    assert "--decode gpu" in beyond


def test_hours_disk_and_shards_follow_from_the_set(costs):
    lines = answer(Question(gpus=1, cores=4, step_rate=100, images="360k"), MOCO, costs)
    assert "at 100 images/s an epoch takes 1.00 h, 200 epochs 200.0 h" in lines
    assert any(line.startswith("shards: 48 tars of 256 MB; disk: 12.1 GB") for line in lines)


def test_the_images_of_a_built_set_are_counted(built):
    found = images_of(Question(data=built.root))
    assert found.samples == 96
    assert found.image.kilobytes == pytest.approx(built.bytes.mean() / 1e3)


def test_a_number_may_have_a_unit_and_another_word_is_refused():
    assert [number(text) for text in ("1281167", "1.28M", "400M", "50k")] == [1281167, 1.28e6, 4e8, 5e4]
    with pytest.raises(UserError, match="'many' is not a number: write it like"):
        number("many")


def test_without_figures_the_error_names_the_command_that_measures_them(tmp_path):
    with pytest.raises(UserError, match="make bench PART=costs"):
        Costs.load(tmp_path / "costs.json")


def test_several_nodes_share_the_images_the_store_and_the_batch(costs):
    one, four = (
        "\n".join(answer(Question(gpus=8, nodes=n, cores=64, step_rate=1000, images="288M"), MOCO, costs))
        for n in (1, 4)
    )
    assert "limits on 64 cores: the step, at 8000 of 8000 images/s\n" in one
    assert "limits on 64 cores: the step, at 8000 of 8000 images/s, on each of 4 nodes\n" in four
    assert "at 8000 images/s an epoch takes 10.00 h" in one
    assert "at 32000 images/s an epoch takes 2.50 h" in four
    assert "reading: 269 MB/s from the disk or network until the page cache holds it, on each of 4 nodes" in four
    assert "a store that they share: 1075 MB/s in every epoch without --stage" in four
    assert "a store that they share" not in one


def test_a_staged_set_is_copied_to_each_node_within_an_epoch(costs):
    data = of_side(400)
    lines = [*nearby(around(samples=3600e3, image=data, rate=1000, nodes=1), nodes=1)]
    assert lines[0].startswith("--stage: 121.0 GB on the disk of each node; copied within the first epoch at 34 MB/s a")
    shared = [*nearby(around(samples=3600e3, image=data, rate=1000, nodes=2), nodes=2)]
    assert "copied within the first epoch at 67 MB/s a node, 134 MB/s from the store, nothing is read" in shared[1]


def test_a_build_is_planned_in_core_hours_and_larger_images_take_more(costs):
    assert 1500 < build_cost(of_side(400)) < 1600  # measured: 1543 us
    assert build_cost(of_side(200)) < build_cost(of_side(400)) < build_cost(of_side(800))
    *_, line = nearby(around(samples=3.6e6, image=of_side(400), rate=1000, nodes=1), nodes=1)
    assert line.startswith("build: 1.54 core hours")
    assert "needs 121.0 GB of scratch for the .beton" in line


def test_a_plan_as_json_has_the_numbers_of_its_lines(program):
    words = ("tools/plan.py", "--gpus", 2, "--cores", 8, "--images", "360k", "--step-rate", 100)
    text, done = program(*words), program(*words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    plan = json.loads(done.stdout)
    assert (plan["set"]["images"], plan["limit"], plan["images_per_second"]) == (360_000, "the step", 200)
    assert f"take: {plan['take']}\n" in text.stdout
    assert f"an epoch takes {plan['epoch_hours']:.2f} h, 200 epochs {plan['hours']:.1f} h" in text.stdout
