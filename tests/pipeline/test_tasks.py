"""Freed memory is used again, so samples do not ask the system for their pages."""

import json
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
from viewstream.pipeline.tasks import keep_freed_memory

def faults():
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        blocks = [bytes(100_000) for _ in range(400)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
keep_freed_memory()
print([before, faults()])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have limits of their own")
def test_memory_that_samples_free_is_kept_for_the_next_ones():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    before, after = json.loads(done.stdout)
    assert before > 4000  # pages; 400 blocks have 9,766
    assert after < 400
