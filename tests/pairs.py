"""Two processes that do the same thing at the same moment."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOOP = """
import os, sys
from viewstream.shards.errors import UserError

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
{program}
print("ready", file=answers, flush=True)
for line in sys.stdin:
    try:
        answer = work(int(line), int(sys.argv[1]), *sys.argv[2:])
    except UserError as error:
        answer = "refused: " + str(error)
    print(answer, file=answers, flush=True)
"""


def pairs(program: str, rounds: int, *arguments: object) -> list[tuple[str, str]]:
    """What two processes answer in each round: what `work(round, process, *arguments)` of `program` returns, or
    `refused: ...` with the message of a UserError. Any other error fails, with what the process printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as shown:

        def start(number: int) -> "subprocess.Popen[str]":
            argv = [sys.executable, "-c", LOOP.format(program=program), str(number), *map(str, arguments)]
            pipe = subprocess.PIPE
            return subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=shown, text=True, cwd=ROOT, env=environment)

        def answer(process: "subprocess.Popen[str]") -> str:
            assert process.stdout
            if line := process.stdout.readline():
                return line.rstrip("\n")
            process.wait()
            shown.seek(0)
            raise AssertionError(shown.read())

        both = start(0), start(1)
        try:
            assert [answer(process) for process in both] == ["ready", "ready"]
            found = []
            for number in range(rounds):
                for process in both:
                    assert process.stdin
                    process.stdin.write(f"{number}\n")
                    process.stdin.flush()
                first, second = map(answer, both)
                found.append((first, second))
            return found
        finally:
            for process in both:
                process.kill()
                process.communicate()
