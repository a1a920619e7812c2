"""Outputs of a run's numbers besides log.jsonl: TensorBoard and Weights & Biases, each an extra."""

import hashlib
from pathlib import Path
from typing import Any, Protocol

from ...shards.errors import needs


class MetricLogger(Protocol):
    """Writes numbers of a step somewhere."""

    def write(self, step: int, values: dict[str, float]) -> None: ...

    def close(self) -> None: ...


class TensorBoardLogger:
    """Writes event files into the run's folder; `tensorboard --logdir runs` shows them, without what earlier files have
    of steps after `step`."""

    def __init__(self, folder: Path, step: int):
        from torch.utils.tensorboard import SummaryWriter  # imports tensorboard itself

        self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class WandbLogger:
    """Logs to a Weights & Biases project, one run per folder, which a resumed run continues. If a killed run has logged
    a step already, its values stay. WANDB_MODE=offline keeps it on disk."""

    def __init__(self, folder: Path, project: str, config: dict[str, Any]):
        run_id = hashlib.sha1(str(folder.resolve()).encode()).hexdigest()[:12]
        self._run: Any = needs("wandb").init(
            project=project, dir=str(folder), name=folder.name, id=run_id, resume="allow", config=config
        )

    def write(self, step: int, values: dict[str, float]) -> None:
        self._run.log(values, step=step)

    def close(self) -> None:
        self._run.finish()
