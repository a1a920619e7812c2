"""Options of a run that do not change its numbers: where it happens, what it begins with, what it writes."""

from dataclasses import dataclass
from typing import Annotated, Literal

from ..data import Ema, Network, OnError, Sets


@dataclass(frozen=True, kw_only=True)
class Run(Sets):
    """Where and how fast a run happens"""

    out: Annotated[str, "folder of the run (runs/METHOD-DATA)"] = ""
    resume: Annotated[str, "`auto` continues from OUT/last.pt if it is there, a path from that checkpoint"] = ""
    pretrained: Annotated[str, "checkpoint, ours or of a release, whose weights a new run begins with"] = ""
    teacher: Annotated[str, "checkpoint of the SEED teacher, ours or of a release"] = ""
    network: Network = "auto"
    ema: Ema = False
    on_error: OnError = "stop"
    device: Annotated[Literal["auto", "cuda", "cpu"], "auto: a GPU if there is one"] = "auto"
    threads: Annotated[
        int | Literal["auto"], "torch's threads; auto: on a CPU one for a small network, more for a large one", 1
    ] = "auto"
    compile: Annotated[
        bool | Literal["auto", "on", "off"], "compile the networks with torch.compile; auto: on a GPU"
    ] = "auto"
    deterministic: Annotated[bool, "on a GPU take only kernels that repeat their results to the last bit"] = False
    save_every: Annotated[int, "steps between checkpoints, besides the one after each epoch", 0] = 0
    keep_every: Annotated[int, "epochs between checkpoints that are kept as epoch-NNNN.pt; 0: none", 0] = 0
    watchdog: Annotated[int, "seconds without progress after which a job that hangs is ended; 0: never", 0] = 600
    profile: Annotated[int, "steps of each kind to time instead of training: what limits the speed", 0] = 0
    trace: Annotated[str, "with --profile: file for a trace of ten steps, for ui.perfetto.dev"] = ""
    log_every: Annotated[int, "steps between log lines", 1] = 10
    eval_every: Annotated[int, "epochs between evaluations on --val: kNN, or top-1 of a classifier; 0: none", 0] = 0
    online: Annotated[
        tuple[Literal["knn", "linear", "rankme"], ...],
        "what --eval-every measures, best.pt by the first: knn; linear, a classifier trained along, which changes no "
        "loss; rankme, the effective rank of the features",
    ] = ("knn",)
    knn_k: Annotated[int, "neighbors that vote in kNN", 1] = 200
    csv: Annotated[bool, "write log.csv into the run's folder, one line per number"] = False
    tensorboard: Annotated[bool, "write event files into the run's folder"] = False
    wandb: Annotated[str, "Weights & Biases project to log to"] = ""
