"""Feed mutated files to every parser with atheris, and keep what breaks one.

    make fuzz RUNS=1000000 SEED=7        all parsers, RUNS executions in all
    python -m tests.hostile.fuzz --parser tar FILE   one file again, as the message of a find says

A find lies in tests/hostile/found; made small (libFuzzer's -minimize_crash=1) it goes to tests/hostile/files, which the
quick tests replay.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
TEST = "tests/hostile/test_files.py::test_mutations_of_a_whole_file_are_parsed_or_refused"
FOUND = HERE / "found"
FILES = HERE / "files"
SHARES = {"list": 10, "classes": 10, "note": 10, "matlab": 10, "kaggle": 8, "tar": 5, "jpeg": 5}  # of the executions
OTHERS = 3  # parsers of files, which are slower
SLOW = 20  # seconds for one file: a hang
ROOM = 2000  # MB


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="files to replay, instead of new ones")
    parser.add_argument("--parser", default="", help="one parser instead of all")
    parser.add_argument("--runs", type=int, default=1_000_000, help="executions, of all parsers together")
    parser.add_argument("--seed", type=int, default=0, help="0: from the clock")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        return inside(options.parser, options.runs, options.seed, options.files)
    if not find_spec("atheris"):
        print("error: atheris is not installed: pip install atheris brings it", file=sys.stderr)
        return 2
    if options.files:
        return start(options.parser, 0, 1, [file.resolve() for file in options.files])
    seed = options.seed or int(time.time())
    print(f"seed {seed}: make fuzz RUNS={options.runs} SEED={seed} does the same again", flush=True)
    from .seeds import seeds

    with tempfile.TemporaryDirectory() as folder:
        names = [options.parser] if options.parser else list(seeds(Path(folder)))
    shares = {name: SHARES.get(name, OTHERS) for name in names}
    runs = {name: -(-options.runs * share // sum(shares.values())) for name, share in shares.items()}
    broken = [name for name in names if start(name, runs[name], seed, [])]
    print(f"{sum(runs.values()):,} executions, seed {seed}: {', '.join(broken) or 'no parser'} broken")
    if not options.parser:
        from ..chaos.results import Row, keep  # late: what is imported before atheris is not instrumented

        good, bad = "read, or refused in one line", "ended with a find"
        found = {name: {bad if name in broken else good: count} for name, count in runs.items()}
        rows = [
            Row(f"files for the parser `{name}`", runs[name], found[name], int(name in broken), TEST) for name in names
        ]
        keep("fuzz", f"make fuzz RUNS={options.runs} SEED={seed}", seed, rows)
    return len(broken) > 0


def start(name: str, runs: int, seed: int, files: list[Path]) -> int:
    """One parser in a process of its own."""
    begin = time.monotonic()
    words = ["--inside", "--parser", name, "--runs", str(runs), "--seed", str(seed), *map(str, files)]
    command = [sys.executable, "-m", "tests.hostile.fuzz", *words]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, cwd=HERE.parents[1])
    print(f"{name:>14}  {runs:>9,} executions, {time.monotonic() - begin:6.1f} s, code {done.returncode}", flush=True)
    if done.returncode:
        print(done.stderr[-3000:])
    return done.returncode


def inside(name: str, runs: int, seed: int, files: list[Path]) -> int:
    import atheris

    with atheris.instrument_imports(include=["viewstream.shards", "viewstream.trainers.checkpoints"]):
        from .parsers import parsers
        from .seeds import seeds

        if name.startswith("checkpoint"):  # which imports torch
            import_module("viewstream.trainers.checkpoints.layouts")
    room = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=room) as folder:
        parse = parsers(Path(folder) / "parsed")[name]
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, data in enumerate(seeds(Path(folder) / "seeds")[name]):
            (corpus / f"seed{number}").write_bytes(data)
        FOUND.mkdir(exist_ok=True)
        own = FILES / name
        limits = [f"-runs={runs}", f"-seed={seed}", f"-timeout={SLOW}", f"-rss_limit_mb={ROOM}", "-max_len=16384"]
        places = list(map(str, files)) or [str(corpus), *([str(own)] if own.is_dir() else [])]
        atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={FOUND}/{name}-", *places], parse)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
