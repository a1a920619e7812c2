"""Final names are given by shards/files.py alone: what is whole and on the disk, and stays."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMED = {"rename", "link", "symlink", "hardlink_to", "symlink_to", "move", "copy2", "copyfile", "copytree", "makedirs"}
NAMED |= {"write_text", "write_bytes", "touch", "mkdir", "tofile"}  # names and bytes, in one call
SAVERS = {"save", "savez", "savefig", "write_table", "ParquetWriter"}  # these take an open file too
# What else is written, and why no power cut hurts there.
WORK = "in a work folder, which is placed when it is whole"
SCRATCH = "a temporary file of a measurement"
OTHER = {
    "shards/building/blocks.py:_stored": "blocks of worker processes on their way to the writer",
    "shards/building/assemble.py:assemble": "the partial .beton",
    "shards/building/finish.py:finish": "a folder of the scratch",
    "shards/building/finish.py:_named": "a record of a build goes aside",
    "shards/building/staged.py:staged": "a file of the scratch that is as long as its object",
    "shards/building/object_store.py:scratch": "a scratch folder",
    "shards/building/task.py:__call__": "a partial tar",
    "shards/building/writer.py:__init__": "the partial .beton",
    "shards/building/writer.py:unit": "a partial tar",
    "shards/building/writer.py:_clean": "a final name goes back to a partial one",
    "shards/exits.py:hush": "the null device",
    "shards/exits.py:_record": "last words for torchrun, in its own temporary folder",
    "tools/pages/tiles.py:tile": "into memory",
    "tools/doctor_trials.py:small_set": "images of a temporary folder",
    "shards/formats/folder.py:__init__": WORK,
    "shards/formats/folder.py:add": WORK,
    "shards/building/records.py:write": "into memory",
    "shards/care/copies.py:fetch": "the scratch folder of a repair",
    "shards/kernels.py:_alone": "a lock",
    "shards/locks.py:_opened": "locks and partial files",
    "shards/locks.py:held": "locks and partial files",
    "shards/table.py:write_table": "into an open file",
    "pipeline/nvjpeg.py:_tiny": "into memory",
    "pipeline/readers/cache.py:__init__": "the lock of a cache",
    "pipeline/readers/cache.py:_removed": "a lock",
    "pipeline/readers/copying.py:copy": "the partial file of a cache",
    "pipeline/readers/fetch.py:_get": "a partial file of the caller",
    "pipeline/static/describe.py:join": WORK,
    "pipeline/static/write.py:_write": WORK,
    "pipeline/static/write.py:encoded": "into memory",
    "trainers/checkpoints/files.py:link": "a partial name, which is placed",
    "trainers/training/headspace.py:_writable": "tries a place before the work, and removes its file",
    "trainers/training/loggers.py:__init__": "appends lines; a torn one is dropped when the run goes on",
    "trainers/training/log.py:_lines": "lines of a log, synced with each checkpoint; half a line is cut",
    "trainers/stacks.py:_keep": "stacks of a run that hangs, perhaps at its disk",
    "tools/bench/build.py:copy_images": WORK,
    "tools/bench/build.py:rate": SCRATCH,
    "tools/bench/manifest.py:synthetic": SCRATCH,
    "tools/bench/parts/build.py:_into": SCRATCH,
    "tools/bench/static.py:plain_loop": SCRATCH,
    "tools/learning/job.py:run": "appends what programs print",
    "tools/make_static.py:make": WORK,
    "tools/make_static.py:_work_folder": WORK,
    "tools/textures.py:write": WORK,
    "tools/textures.py:main": WORK,
}


def function_of(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> str:
    while node in parents:
        node = parents[node]
        if isinstance(node, ast.FunctionDef):
            return node.name
    return "<module>"


def files_of(tree: ast.AST) -> set[str]:
    """Names of files that `atomic` has opened, or that the caller has."""
    opened = {arg.arg for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for arg in node.args.args}
    for node in ast.walk(tree):
        if isinstance(node, ast.withitem) and isinstance(node.optional_vars, ast.Name):
            call = node.context_expr
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "atomic":
                opened.add(node.optional_vars.id)
    return opened


def writes(call: ast.Call) -> str:
    """What a call may do to the disk: its name, or empty."""
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    given = [*call.args, *(word.value for word in call.keywords if word.arg == "mode")]
    nodes = [node for arg in given for node in ast.walk(arg)]
    words = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    if name in ("open", "FileIO", "fdopen") and any(set("wax+") & set(word) and len(word) < 4 for word in words):
        return name
    if name == "open" and any(isinstance(node, ast.Attribute) and node.attr == "O_CREAT" for node in nodes):
        return name
    if name == "replace" and owner and (getattr(owner, "id", "") == "os" or len(given) == 1) and not call.keywords:
        return name
    return name if name in NAMED | SAVERS and owner is not None else ""


def found() -> dict[str, str]:
    """`file:function` -> what it calls, of every write that is not by shards/files.py."""
    calls: dict[str, str] = {}
    for room in ("shards", "pipeline", "trainers", "augment", "testing", "tools"):
        for path in sorted((ROOT / room).rglob("*.py")):
            tree = ast.parse(path.read_text())
            parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
            opened = files_of(tree)
            for node in ast.walk(tree):
                if not isinstance(node, ast.Call) or not (name := writes(node)):
                    continue
                if name in SAVERS and any(isinstance(arg, ast.Name) and arg.id in opened for arg in node.args):
                    continue
                calls[f"{path.relative_to(ROOT)}:{function_of(node, parents)}"] = name
    return calls


def test_final_names_are_given_by_the_one_door_and_every_other_write_has_a_reason():
    calls = {place: name for place, name in found().items() if not place.startswith("shards/files.py:")}
    assert calls.keys() == OTHER.keys(), {place: calls.get(place) for place in calls.keys() ^ OTHER.keys()}
