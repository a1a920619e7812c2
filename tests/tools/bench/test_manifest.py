"""The bench of manifests writes sets of any length, and what it opens is mapped."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from viewstream.shards.columns import differs
from viewstream.shards.manifest import Manifest
from viewstream.shards.table import TABLE
from viewstream.tools.bench.manifest import in_process, synthetic

ROWS = 300_000


def test_a_process_that_maps_a_set_holds_none_of_its_numbers(built, tmp_path):
    synthetic(tmp_path / "set", built.info, ROWS)
    made = Manifest.open(tmp_path / "set")
    assert (len(made), made.key(7)) == (ROWS, "class3/7")
    np.testing.assert_array_equal(made.uid, pq.read_table(made.root / TABLE, columns=["uid"])["uid"].to_numpy())
    held = 48 * ROWS / 2**20  # MiB of the numbers in memory
    by_table, mapped = (in_process(made.root, by_table=choice)["private, MiB"] for choice in (True, False))
    assert mapped < by_table - held / 2
    assert not differs(made.root, ROWS, made.info.manifest)


@pytest.mark.full
def test_the_bench_measures_every_case_of_every_size(program, tmp_path):
    out = tmp_path / "scale.json"
    done = program("tools/bench/manifest.py", "--rows", "1K,2K", "--runs", 1, "--scratch", tmp_path, "--out", out)
    assert done.returncode == 0, done.stderr
    sets = json.loads(out.read_text())["sets"]
    assert [each["rows"] for each in sets] == [1000, 2000]
    for each in sets:
        assert each["mapped"].keys() == each["mapped, cold"].keys() == each["by the table"].keys()
    assert [path.name for path in tmp_path.iterdir()] == ["scale.json"]


def test_a_length_that_is_no_number_is_refused(in_process):
    done = in_process("tools/bench/manifest.py", "--rows", "many")
    assert (done.returncode, "--rows many is no number of rows" in done.stderr) == (2, True)
