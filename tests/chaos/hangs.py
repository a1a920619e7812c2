"""Jobs that hang end by their watchdog, and numbers that are not finite end a run, with one line and what explains it.

python -m tests.chaos.hangs [--runs TIMES] [--only PART]
"""

import argparse
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from viewstream.trainers import train
from viewstream.trainers.watchdog import CODE

from ..trainers import hanging
from .forked import Program, with_one_thread
from .programs import Room
from .results import Row, keep, show

SECONDS = "3"  # of the watchdog


@dataclass(frozen=True)
class Hang:
    """A fault, the program that has it, its exit code, last words and the file that it leaves in `run`."""

    fault: str
    main: Callable[[], object]
    words: list[str]
    code: int
    line: str
    file: str
    test: str


def hangs(room: Room) -> dict[str, Hang]:
    def job(fault: str, what: str, ranks: int, line: str, test: str) -> Hang:
        words = [what, str(room.set), str(room.val), "run", SECONDS, str(ranks)]
        where = f"tests/trainers/test_watchdog.py::{test}"
        return Hang(fault, hanging.main, words, CODE, line, "stacks-rank-0.txt", where)

    silent, still = r"rank 1 has been silent for 3 s \(stopped, or gone\)", "no process has moved for 3 s"
    finite = "tests/trainers/training/test_failure.py::"
    finite += "test_what_is_not_finite_is_named_with_its_step_images_and_the_checkpoint"
    endless = room.training("supervised", "--out", "run", "--lr", "1e30")
    return {
        "stopped": job(
            "SIGSTOP of one of two ranks",
            "stopped",
            2,
            silent,
            "test_a_rank_that_is_stopped_is_named_and_ends_the_job_with_the_stacks_of_the_others",
        ),
        "image": job(
            "an image that never comes, for one of two ranks",
            "no image",
            2,
            f"{still}.*rank 1 at the loader's batch",
            "test_a_rank_whose_images_do_not_come_is_named_with_what_it_waits_for",
        ),
        "alone": job(
            "an image that never comes, for one process", "no image", 1, still, "test_a_process_alone_is_ended_too"
        ),
        "finite": Hang(
            "a learning rate of 1e30",
            train.main,
            endless,
            2,
            r"(not finite|is nan|is inf).*step",
            "failure.json",
            finite,
        ),
    }


def tried(hang: Hang, folder: Path) -> list[str]:
    """What is wrong with how the program ends."""
    program = Program(hang.main, hang.words, folder)
    code, text = program.end(), program.text().strip()
    last = text.splitlines()[-1] if text else ""
    faults = [f"code {code}"] * (code != hang.code) + ["a traceback"] * ("Traceback" in text)
    faults += [f"its last words are {last!r}"] * (not re.search(f"^error: .*{hang.line}", last))
    faults += [f"no {hang.file}"] * (not (folder / "run" / hang.file).exists())
    return faults + [f"{one} is left" for one in program.left()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="nothing is drawn here")
    parser.add_argument("--runs", type=int, default=20, help="of each part")
    parser.add_argument("--only", default="", help="stopped, image, alone or finite")
    options = parser.parse_args()
    with_one_thread()
    rows = []
    with tempfile.TemporaryDirectory(prefix="hangs-") as folder:
        tempfile.tempdir = folder  # of the programs too: a launcher that is killed leaves a folder there
        room = Room(Path(folder))
        try:
            for name, hang in hangs(room).items():
                if options.only not in ("", name):
                    continue
                outcomes, bad = Counter[str](), 0
                for number in range(options.runs):
                    work = Path(folder, f"{name}-{number}")
                    work.mkdir()
                    faults = tried(hang, work)
                    outcomes["; ".join(faults) or f"ended with one line and {hang.file}"] += 1
                    bad += len(faults) > 0
                rows.append(Row(hang.fault, options.runs, dict(outcomes), bad, hang.test))
                print(f"{name}: {dict(outcomes)}", flush=True)
        finally:
            room.close()
    return (
        show(rows) if options.only else keep("hangs", f"make chaos PART=hangs RUNS={options.runs}", options.seed, rows)
    ) > 0


if __name__ == "__main__":
    sys.exit(main())
