"""docs/reliability.md, made of what the suites have found: `python -m tests.chaos.report`."""

import json
from pathlib import Path
from typing import Any

from .results import RESULTS

SUITES = {
    "kills": "Processes that are killed, stopped, or write the same thing",
    "clusters": "Builds on a cluster that loses workers, nodes and drivers",
    "failures": "Disks that fail at the N-th operation, for every N",
    "power": "Power lost between two operations",
    "flips": "Damaged files",
    "fuzz": "Hostile files",
    "soak": "Long runs",
    "hangs": "Jobs that hang, and numbers that are not finite",
}
NOTES = {
    "kills": """A moment is a share of the processor time of an undisturbed run, or just after the first change of its
folder, drawn from the seed, in a process that has imported all packages before, so every signal hits the work of a
program. The state after the signal comes first:
`nothing written` yet, `unfinished` (what has its final name is whole), or `complete` (it ended in its last lines, or
went on). Then the same command ran again, up to twice more with a signal, until it ended: files, losses, weights and
results were those of the undisturbed run, `log.jsonl` had each step once, and no file, lock, process or shared memory
was left. Bad are a torn file under a final name, another result, a traceback, another exit code, a leftover, a hang of
two minutes.""",
    "clusters": """A Ray of two nodes on one machine builds a small set. A fault comes when a random number of tars is
finished; a build whose driver died is started again. Bad are another set than that of a local build, and another exit
code.""",
    "flips": """In 8 of 10 tries one bit is flipped, in the others the end is cut off or a page of 4 KiB is zeroed. Each
damaged file is read in every way that reads it: found is one line and exit code 2, or `verify` naming the file;
harmless is the same result, and why; silent is another result without a word, which is bad only where a checksum is
claimed; a traceback always is.""",
    "soak": """Tries are epochs: 500 images of 96 px, two views of 64 px; of the training 100 images, a checkpoint and a
validation in each. After every epoch: memory of the process and its children, threads, descriptors, entries of
/dev/shm, temporary files. Flat: the median slope between any two epochs of the second half is below 1 MB in ten epochs
and 5 % over the half; no count is higher in the last quarter than in the one before.""",
    "fuzz": "Executions of parsers on mutated files; bad is what ends in anything but one line, takes 20 s or 2 GB.",
}
HEAD = """# Reliability

Written by `python -m tests.chaos.report` from [docs/results/reliability](results/reliability); edit that program.

Programs of this project were killed, stopped, starved of disk space, cut off from power and fed damaged and hostile
files; what came of each is counted here.

{summary}

## What is promised

* **Whole or absent.** A set, a static set, a checkpoint, a converted file, kept features, `results.json` and
  `config.json` are written under a partial name, synced, and renamed; then their folder is synced. So a file or folder
  with its final name is complete, whatever ends a program. A set is complete when it has `dataset.json`.
* **The same command goes on.** A build continues after its last finished shard, a training with `--resume auto` from
  its last checkpoint; both end with the bytes, losses and weights of an undisturbed run (on a CPU, at equal world
  size).
* **One writer at a time.** A build, a repair, a trainer and the maker of a static set lock what they write, by locks
  that the kernel releases with their process; a second one is refused in one line. Writers of one `results.json` take
  turns, and readers of remote sets share a cache.
* **Damage is found.** Images, tars, tables, static sets, checkpoints, build records, kept features and `dataset.json`
  have digests or checksums; [SECURITY.md](../SECURITY.md#what-is-checked-and-when) says which is compared when, and
  what is trusted. `tools/verify_shards.py` compares all of a folder.
* **One line.** A full, failing or read-only disk, a damaged file and a mistake of the user end in one line and exit
  code 2, without a traceback. A job that hangs is ended by its watchdog, which names the rank.

## What is not claimed

* Nothing was tried on a GPU, or on NFS and other network file systems: files were local. Several machines were network
  namespaces of one, and nodes of Ray its processes ([clusters](clusters.md)). Locks hold between machines only where
  the file system passes them on; where it has none, a note says so.
* Power loss is simulated from the recorded operations of a program; no machine was switched off, and a disk that
  confirms a sync without one is not covered.
* `results.json`, `config.json` and `log.jsonl` are text without a digest: damage that is valid JSON is not found.
  Safetensors and detectron2 files of other programs, and files of torch before 1.6, hold no checksum.
* Loaders do not compare digests unless they are asked to: what they find by themselves are wrong lengths and what the
  decoder calls damage.
* A digest protects against damage, not against its author.
* SIGKILL of the launcher of `--ranks` leaves its small folder `viewstream-*` in the folder for temporary files.
* Kills were tried with small sets and networks, so moments within long writes are rarer than in large ones; torchrun
  has tests of its own and is not among the kills.
"""


def page(results: Path = RESULTS) -> str:
    """The page, of the files SUITE.json in the folder."""
    found = {name: json.loads((results / f"{name}.json").read_text()) for name in SUITES if _has(results, name)}
    lines = ["| suite | tried | outcomes that must not be |", "|---|---:|---:|"]
    for name, suite in found.items():
        tried, bad = (sum(row[key] for row in suite["rows"]) for key in ("tries", "bad"))
        lines.append(f"| {SUITES[name]} | {tried:,} | {bad:,} |")
    return HEAD.format(summary="\n".join(lines)) + "".join(
        _section(name, suite, results) for name, suite in found.items()
    )


def _has(results: Path, name: str) -> bool:
    return (results / f"{name}.json").exists()


def _section(name: str, suite: dict[str, Any], results: Path) -> str:
    lines = [f"\n## {SUITES[name]}\n", f"`{suite['command']}`, seed {suite['seed']}, commit {suite['commit']}, on"]
    lines[-1] += f" {suite['machine']}. The same command does the same again, and names how to repeat a single fault.\n"
    if name in NOTES:
        lines.append(f"{NOTES[name]}\n")
    if (results / f"{name}.png").exists():
        lines.append(f"![{SUITES[name]}](results/reliability/{name}.png)\n")
    lines += ["| fault | tries | outcomes | bad | test |", "|---|---:|---|---:|---|"]
    return "\n".join([*lines, *map(_row, suite["rows"])]) + "\n"


def _row(row: dict[str, Any]) -> str:
    outcomes = ", ".join(f"{name}: {count:,}" for name, count in row["outcomes"].items())
    file, _, test = row["test"].partition("::")
    bad = f"**{row['bad']:,}**" if row["bad"] else "0"
    return f"| {row['fault']} | {row['tries']:,} | {outcomes} | {bad} | [{test}](../{file}) |"


def write(results: Path = RESULTS) -> None:
    """Write docs/reliability.md beside docs/results."""
    (results.parents[1] / "reliability.md").write_text(page(results))


if __name__ == "__main__":
    write()
