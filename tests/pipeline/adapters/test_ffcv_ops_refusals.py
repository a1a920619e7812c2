"""Our views inside ffcv's own Loader: a plan, file or field that does not fit is refused."""

from dataclasses import replace

import pytest

from viewstream.augment.recipes import moco_v2
from viewstream.pipeline.plan.order import Plan
from viewstream.shards.errors import UserError

from .ffcv_loaders import FFCV, staged

pytestmark = FFCV


def test_a_loader_that_does_not_fit_the_plan_is_refused(built):
    plan = Plan(len(built), 16)
    with pytest.raises(UserError, match="batch_size=16"):
        staged(built, moco_v2(32), plan, batch_size=8)
    with pytest.raises(UserError, match="without indices"):
        staged(built, moco_v2(32), plan, indices=[1, 2, 3])


def test_samples_that_share_a_number_in_the_file_are_refused(built):
    from viewstream.pipeline.adapters.ffcv_ops import pipelines

    with pytest.raises(UserError, match=r"90 samples of .* share a number"):
        pipelines(replace(built, beton=built.beton % 6), moco_v2(32), Plan(len(built), 16))


@pytest.mark.full
def test_a_last_batch_that_the_loader_would_drop_is_refused(built):
    with pytest.raises(UserError, match="drop_last=False"):
        staged(built, moco_v2(32), Plan(len(built), 36, tail="exact"))


def test_another_file_or_field_than_in_the_manifest_is_refused(built, built_val):
    from ffcv.loader import Loader

    from viewstream.pipeline.adapters.ffcv_ops import pipelines

    stages = pipelines(built, moco_v2(32), Plan(len(built), 16))
    with pytest.raises(UserError, match=r"is not the \.beton"):
        Loader(str(built_val.beton_path()), 16, order=stages.order, pipelines=stages.pipelines)
    stages = pipelines(built, moco_v2(32), Plan(len(built), 16), field="photo")
    with pytest.raises(UserError, match="unknown field 'photo'"):
        Loader(str(built.beton_path()), 16, order=stages.order, pipelines=stages.pipelines)
