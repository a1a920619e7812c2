"""tools/slurm.sbatch with stand-ins for the commands of SLURM, on two hosts: a pre-empted job is queued again and ends
with the losses of an undisturbed run; one that fails is not queued."""

import os
import re
import signal
import sys

import pytest
import torch

from ..trainers.small_runs import losses
from .hosts import ROOT, ended, wait_for_step

pytestmark = pytest.mark.full
SCRIPT = ROOT / "tools/slurm.sbatch"
PYTHON = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
SCONTROL = """#!/bin/sh
case "$1" in
show) printf 'node-1\\nnode-2\\n' ;;
requeue) echo "$2" >>{folder}/queue ;;
esac
"""
# Tasks on both hosts; srun ends all of them if one fails. Their process numbers are where scancel looks.
SRUN = """#!/bin/bash
while [[ "$1" == --* ]]; do shift; done
{first} "$@" & one=$!
{second} "$@" & two=$!
echo $one $two >{folder}/tasks
code=0
for task in $one $two; do wait $task || {{ code=$?; kill -KILL $one $two 2>/dev/null; }}; done
exit $code
"""
# All processes of a step get the signal.
SCANCEL = """#!/bin/sh
[ "$1" = --signal=TERM ] || exit 1
for task in $(cat {folder}/tasks); do kill -TERM $(cat /proc/$task/task/*/children) $task; done
"""


@pytest.fixture
def submit(hosts, training, tmp_path):
    """(more words) -> the job, just started on the first of its two nodes, as sbatch does."""
    for name in ("programs", "job/.venv/bin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "job/trainers").symlink_to(ROOT / "trainers")
    first, second = (" ".join(f"'{word}'" for word in host.enter) for host in hosts)
    texts = {"scontrol": SCONTROL, "srun": SRUN, "scancel": SCANCEL}
    files = {tmp_path / "programs" / name: text for name, text in texts.items()}
    files = {path: text.format(folder=tmp_path, first=first, second=second) for path, text in files.items()}
    for path, text in {**files, tmp_path / "job/.venv/bin/python": PYTHON}.items():
        path.write_text(text)
        path.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}/programs:{os.environ['PATH']}"}
    environment |= {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node-[1-2]", "SLURM_NNODES": "2"}
    environment |= {"SLURM_GPUS_ON_NODE": "1", "SLURM_CPUS_PER_TASK": "1"}

    def start(*more):
        _, *words = training(tmp_path / "run", "--epochs", 10, *more)
        return hosts[0].start("bash", SCRIPT, *words, env=environment, cwd=tmp_path / "job")

    return start


def test_a_job_that_is_pre_empted_is_queued_again_and_repeats_the_losses(submit, undisturbed, tmp_path):
    out, queue = tmp_path / "run", tmp_path / "queue"
    job = submit("--save-every", 2)
    wait_for_step(5, out, job)
    job.send_signal(signal.SIGTERM)  # B: in --signal
    ((code, output, errors),) = ended(job)
    assert code == 0, errors
    assert "--resume auto continues" in output
    assert queue.read_text() == "7\n"
    step = torch.load(out / "last.pt", weights_only=True)["step"]
    assert step == max(losses(out)) < 60
    ((code, output, errors),) = ended(submit("--save-every", 2))
    assert code == 0, errors
    assert f"from step {step} of 60" in output
    assert queue.read_text() == "7\n"
    assert losses(out) == losses(undisturbed("--epochs", 10, "--save-every", 2))


def test_a_job_that_fails_is_not_queued_again(submit, tmp_path):
    ((code, _, errors),) = ended(submit("--bn-groups", 3))
    assert code in (2, 137)  # of the task that failed, or of the other one, which was ended for it
    assert "choose --bn-groups" in errors
    assert not (tmp_path / "queue").exists()


def test_the_script_itself_gets_the_signal_and_the_job_may_be_queued_again():
    options = re.findall(r"^#SBATCH (.*)", SCRIPT.read_text(), re.MULTILINE)
    assert "--signal=B:TERM@120" in options
    assert {"--requeue", "--ntasks-per-node=1", "--open-mode=append"} <= set(options)
