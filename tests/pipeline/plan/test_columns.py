"""Where the samples of a shard or class are is found part by part of a column."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewstream.pipeline.plan import columns
from viewstream.pipeline.plan.columns import grouped


@given(st.lists(st.integers(0, 5), max_size=40), st.booleans(), st.integers(1, 50))
def test_the_samples_of_each_value_are_found_in_any_column(column, lie_together, part):
    column = np.array(sorted(column, key=lambda value: -value % 7) if lie_together else column, np.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "PART", part)
        groups = grouped(column)
    assert groups.value.tolist() == sorted(set(column.tolist()))
    assert not (lie_together and groups.ids is not None)
    for value, begin, size in zip(groups.value, groups.begin, groups.size, strict=True):
        ids = groups.id_at(np.arange(begin, begin + size))
        assert ids.dtype == np.int64
        assert ids.tolist() == np.flatnonzero(column == value).tolist()
