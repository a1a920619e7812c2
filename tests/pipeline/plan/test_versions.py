"""Both versions of the orders are frozen, and those of the current one are computed without memory for an epoch."""

import hashlib
import tracemalloc

import numpy as np
import pytest

from viewstream.pipeline.plan.order import Plan, permutation
from viewstream.pipeline.plan.orders import Balanced, WindowShuffle
from viewstream.shards.errors import UserError

DIGESTS = {
    1: "e22b9b5f35fc156f526232a1e29bf4f4bea8e1e93cfba0ad49f357a20b3363a7",  # of the code before there were versions
    2: "5f35f63b2119a5029e3777e173872bd428a49b5c3da890209215127801c52bc9",
}


@pytest.mark.parametrize("version", DIGESTS)
def test_the_orders_of_a_version_are_frozen(version):
    rng, digest = np.random.default_rng(0), hashlib.sha256()
    label, shard = rng.integers(0, 50, 5000), np.sort(rng.integers(0, 40, 5000))
    for options in (
        {},
        {"order": Balanced(label, 3, version)},
        {"order": WindowShuffle(shard, 4, version)},
        {"tail": "pad", "order": Balanced(label, 1, version)},
        {"tail": "pad", "multiple": 8},
    ):
        for rows, occurrence in Plan(5000, 64, 2, 1, 9, version=version, **options).steps(3):
            digest.update(rows.tobytes() + occurrence.tobytes())
    assert digest.hexdigest() == DIGESTS[version]


def test_the_first_ids_of_version_2_are_these():
    assert permutation(10, 0, 0).tolist() == [0, 7, 6, 5, 9, 8, 2, 1, 3, 4]
    far = next(Plan(10**9, 8, seed=1).ids(2, 10**6)).tolist()
    assert far == [834453258, 829543559, 126713440, 531699823, 301395597, 382300654, 549786041, 697197879]


SAMPLES = 10**6
SORTED = np.repeat(np.arange(1000), 1000)
PLANS = {
    "permutation": Plan(SAMPLES, 256, 4, 2),
    "padded": Plan(SAMPLES, 256, 4, 2, tail="pad"),
    "exact": Plan(SAMPLES, 256, 4, 2, tail="exact"),
    "blocks": Plan(SAMPLES, 256, 4, 2, order=WindowShuffle(SORTED)),
    "balanced": Plan(SAMPLES, 256, 4, 2, order=Balanced(SORTED)),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_an_epoch_of_a_million_samples_takes_no_memory_for_its_length(plan):
    next(plan.ids(0))  # kernels, and the places of shards and classes
    tracemalloc.start()
    for start in (0, len(plan) // 2):
        steps = plan.steps(1, start)
        assert sum(len(next(steps).rows) for _ in range(3)) == 192
    assert tracemalloc.get_traced_memory()[1] < SAMPLES  # bytes
    tracemalloc.stop()


@pytest.mark.parametrize("make", [lambda **v: Plan(8, 4, **v), lambda **v: WindowShuffle(np.arange(8), **v)(0, 0)])
def test_an_unknown_version_is_refused(make):
    with pytest.raises(UserError, match="orders of version 3 are unknown here, where 2 is the latest: take"):
        make(version=3)
