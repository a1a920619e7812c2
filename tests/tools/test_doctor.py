"""The doctor says what works here."""

import json

from .test_programs import answer, without

BREAKS = """
    import os
    import sys

    class Breaks:
        def find_spec(self, name, path=None, target=None):
            if name.startswith("nvidia.dali") and sys.argv[0] == "-c":
                os.abort()

    sys.meta_path.insert(0, Breaks())
    """


def test_the_doctor_tries_every_loader_and_names_what_breaks_the_process(tmp_path):
    code, out, err = answer("tools/doctor.py", "--disk", tmp_path, "--json", before=BREAKS, folder=tmp_path)
    assert (code, err) == (0, "")
    page = json.loads(out)
    found = {trial["trial"]: trial for trial in page["trials"]}
    for name in ("folder", "webdataset", "ffcv", "memory"):
        assert found[f"loader {name}"]["works"], found
    assert found["loader dali"] == {
        "trial": "loader dali",
        "works": False,
        "words": "the process was ended by SIGABRT: a library does not fit this machine",
    }
    assert page["environment"]["cores"] >= 1
    assert page["disk"]["write_mb_s"] > 0
    assert not [path for path in tmp_path.iterdir() if path.name != "sitecustomize.py" and path.name != "__pycache__"]


def test_without_torch_the_doctor_says_what_is_missing_and_how_to_get_it(tmp_path):
    code, out, err = answer("tools/doctor.py", "--disk", tmp_path, before=without("torch"), folder=tmp_path)
    assert (code, err) == (0, "")
    assert "nothing was tried: torch is not installed" in out
    assert "missing: torch: pip install 'viewstream[train]'" in out


def test_a_disk_that_refuses_is_a_line_of_the_findings(tmp_path):
    code, out, _ = answer("tools/doctor.py", "--disk", "/proc", "--no-trials", folder=tmp_path)
    assert code == 0
    assert "disk of /proc: 0.0 GB free, cannot be written" in out
