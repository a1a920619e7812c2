"""The lock file: what pyproject.toml allows, for every Python, from the public index alone; and the audit of it."""

import importlib.machinery
import importlib.util
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = ("dev", "dali", "loops")  # what .ci/setup installs, without ffcv
PYTHONS = ("3.11", "3.12", "3.13")


def wanted(extras: tuple[str, ...]) -> list[Requirement]:
    """The requirements of the project with these extras; those of its own extras taken apart."""
    lines = [*map(Requirement, PROJECT["dependencies"])]
    for extra in extras:
        for line in map(Requirement, PROJECT["optional-dependencies"][extra]):
            lines += wanted(tuple(line.extras)) if line.name == PROJECT["name"] else [line]
    return lines


def locked(python: str) -> dict[str, Requirement]:
    """The packages that the lock names for a Python on Linux."""
    place = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    place |= {"platform_machine": "x86_64", "platform_system": "Linux", "implementation_name": "cpython"}
    lines = [Requirement(line.rstrip("\\ ")) for line in LOCK.read_text().splitlines() if re.match(r"[a-z0-9]", line)]
    found = [line for line in lines if not line.marker or line.marker.evaluate(place)]
    assert len({line.name for line in found}) == len(found)
    return {line.name: line for line in found}


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_names_one_version_of_each_requirement_that_the_project_allows(python):
    found = locked(python)
    for line in wanted(EXTRAS):
        name = re.sub(r"[-_.]+", "-", line.name).lower()
        (version,) = found[name].specifier
        assert version.operator == "=="
        assert line.specifier.contains(version.version), (name, version.version)


def test_the_lock_has_hashes_and_no_address_and_no_build_of_one_machine():
    text = LOCK.read_text()
    assert "make lock" in text.splitlines()[1]
    assert not re.search(r"://|==[^ ]*\+|^-|@", re.sub(r"^#.*", "", text, flags=re.MULTILINE))
    for block in re.split(r"\n(?=[a-z0-9])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block


def audit() -> Any:
    """The program .ci/audit as a module."""
    loader = importlib.machinery.SourceFileLoader("audit", str(ROOT / ".ci" / "audit"))
    spec = importlib.util.spec_from_loader("audit", loader)
    assert spec
    loader.exec_module(module := importlib.util.module_from_spec(spec))
    return module


def answer(**package: Any) -> str:
    return json.dumps({"dependencies": [{"name": "a", "version": "1", "vulns": []}, {"name": "b", **package}]})


@pytest.mark.parametrize(
    ("out", "line", "code"),
    [
        (answer(version="2", vulns=[]), "2 packages, no known weakness", 0),
        (answer(version="2", vulns=[{"id": "CVE-1"}]), r"1 known weaknesses: b 2 \(CVE-1\)", 1),
        (answer(skip_reason="not found on PyPI"), r"NOT checked, 1 of 2 packages \(b: not found on PyPI\)", 0),
        ("", "NOT checked, pip-audit gave no answer: no route", 0),
        ('{"dependencies": []}', "NOT checked", 0),
    ],
)
def test_an_audit_that_could_not_be_made_says_so(out, line, code):
    shown, ended = audit().verdict(out, "trace\nno route\n")
    assert re.match(f"audit: {line}", shown)
    assert ended == code
