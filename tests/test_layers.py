"""The house rules that a machine can check: which room may import which, and what may be called how."""

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {
    "shards": set(),
    "augment": {"shards.encoding.headers", "shards.errors", "shards.faces", "shards.kernels", "shards.keyed"},
    "pipeline": {"shards", "augment"},
    "trainers": {"shards", "augment", "pipeline"},
    "testing": {"shards", "augment", "pipeline", "trainers"},
    "tools": {"shards", "augment", "pipeline", "trainers", "testing"},
}
PROGRAMS = ("trainers", "tools", "tools/bench")  # folders with scripts
TORCHLESS = [
    "shards",
    "augment/spec.py",
    "augment/recipes.py",
    "augment/draw.py",
    "augment/crops.py",
    "augment/pairs.py",
    "pipeline/plan/order.py",
    "pipeline/plan/orders.py",
]
BACKENDS = {"ffcv", "nvidia", "webdataset", "kornia", "torchvision.transforms"}


def imports(path: Path) -> set[str]:
    """Absolute names of what a file imports, its own rooms without the leading `viewstream.`."""
    package = list(path.relative_to(ROOT).parent.parts)
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("viewstream.") for name in names}


def files(place: str) -> list[Path]:
    path = ROOT / place
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def inner_order() -> dict[str, list[set[str]]]:
    """Each top folder's rooms and single files, row by row from the top down, as docs/architecture.md tells them."""
    table = (ROOT / "docs/architecture.md").read_text().partition("```rooms\n")[2].partition("```")[0]
    rows = (line.split(maxsplit=1) for line in table.splitlines())
    return {top: [set(row.split()) for row in order.split(" > ")] for top, order in rows}


def inner_rooms(top: str) -> set[str]:
    """What lies in a top folder: folders, and files by their stem."""
    return {p.stem for p in (ROOT / top).iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()} - {"__init__"}


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room):
    for path in files(room):
        for name in imports(path):
            other = name.partition(".")[0]
            if other in ROOMS and other != room:
                allowed = any(name == a or name.startswith(a + ".") for a in ROOMS[room])
                assert allowed or any(a.startswith(name + ".") for a in ROOMS[room]), f"{path} imports {name}"


@pytest.mark.parametrize("top", ["shards", "augment", "pipeline", "trainers"])
def test_rooms_import_only_rooms_below_them(top):
    order = inner_order()[top]
    level = {room: depth for depth, row in enumerate(order) for room in row}
    assert level.keys() == inner_rooms(top), "docs/architecture.md does not list these rooms"
    for path in files(top):
        parts = path.relative_to(ROOT / top).with_suffix("").parts
        if parts == ("__init__",):  # hands on what lies in any room
            continue
        for name in imports(path):
            first, _, rest = name.partition(".")
            room = rest.partition(".")[0]
            if first == top and room in level and room != parts[0]:
                assert level[room] > level[parts[0]], f"{path} imports {name}, which lies above or beside it"


def test_no_file_imports_itself_by_a_detour():
    def module(path: Path) -> str:
        return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")

    every = {module(path): imports(path) for top in ROOMS for path in files(top)}
    left = {name: {other for other in names if other in every} - {name} for name, names in every.items()}
    while free := [name for name, names in left.items() if not names]:  # what imports nothing that is left
        left = {name: names.difference(free) for name, names in left.items() if name not in free}
    assert not left, f"a circle among {sorted(left)}"


def test_shards_specs_and_draws_know_no_torch():
    for place in TORCHLESS:
        for path in files(place):
            heavy = {n.partition(".")[0] for n in imports(path)} & {"torch", "torchvision", "kornia", "numba"}
            assert heavy <= ({"numba"} if path.name in ("kernels.py", "dots.py") else set()), f"{path} imports {heavy}"


def test_trainers_import_no_data_backend():
    for path in files("trainers"):
        wrong = [n for n in imports(path) for b in BACKENDS if n == b or n.startswith(b + ".")]
        assert not wrong, f"{path} imports {wrong}"


def test_inside_rooms_imports_are_relative_and_only_tools_import_tools():
    for room in ROOMS:
        for path in files(room):
            text = path.read_text()
            script = room == "tools" or "__main__" in text
            assert script or "from viewstream" not in text, f"{path} imports its own package absolutely"
            if room != "tools":
                assert not any(n == "tools" or n.startswith("tools.") for n in imports(path)), f"{path} imports tools"


def test_no_script_folder_shadows_a_module_that_its_scripts_need():
    """A script's folder comes first on sys.path: trainers/queue.py would break `import torch`."""
    taken = set(sys.stdlib_module_names) | set(packages_distributions())
    taken -= {"viewstream", "tools", "tests", "watchdog"}  # the last is of mkdocs, which builds the site alone
    for folder in PROGRAMS:
        assert not inner_rooms(folder) & taken, f"{folder}: {inner_rooms(folder) & taken}"


def test_pyproject_lists_every_package():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    here = {p.parent.relative_to(ROOT) for room in ROOMS for p in (ROOT / room).rglob("__init__.py")}
    listed = {"viewstream": "."} | {f"viewstream.{'.'.join(p.parts)}": str(p) for p in here}
    assert set(config["packages"]) == set(listed)
    assert config["package-dir"] == listed
