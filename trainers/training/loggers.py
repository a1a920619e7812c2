"""Where a run's numbers go besides log.jsonl: TensorBoard and Weights & Biases, each an extra."""

import hashlib
from pathlib import Path
from typing import Any, Protocol

from ...shards.errors import needs


class MetricLogger(Protocol):
    """Takes the numbers of a step."""

    def write(self, step: int, values: dict[str, float]) -> None: ...

    def close(self) -> None: ...


class TensorBoardLogger:
    """Event files in the run's folder: `tensorboard --logdir runs`."""

    def __init__(self, folder: Path):
        needs("tensorboard")
        from torch.utils.tensorboard import SummaryWriter  # imports tensorboard itself

        self._writer: Any = SummaryWriter(str(folder))

    def write(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class WandbLogger:
    """A run of a Weights & Biases project, one a folder, so that a resumed run goes on in its own; WANDB_MODE=offline
    keeps it on disk."""

    def __init__(self, folder: Path, project: str, config: dict[str, Any]):
        one = hashlib.sha1(str(folder.resolve()).encode()).hexdigest()[:12]
        self._run: Any = needs("wandb").init(
            project=project, dir=str(folder), name=folder.name, id=one, resume="allow", config=config
        )

    def write(self, step: int, values: dict[str, float]) -> None:
        self._run.log(values, step=step)

    def close(self) -> None:
        self._run.finish()
