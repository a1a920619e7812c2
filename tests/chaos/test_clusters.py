"""Builds on Ray that lose what works on them; `make chaos PART=clusters` is the long form."""

import pytest


@pytest.mark.full
def test_builds_on_ray_that_lose_workers_nodes_and_drivers_go_on(program):
    pytest.importorskip("ray", reason="ray is not installed: the extra 'cluster' brings it")
    done = program("-m", "tests.chaos.clusters", "--seed", 17, "--runs", 3, "--only", "*")
    assert done.returncode == 0, done.stdout + done.stderr
