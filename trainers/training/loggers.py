"""Outputs of a run besides log.jsonl: CSV, and TensorBoard and Weights & Biases, each an extra."""

import hashlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...shards.errors import needs
from ...shards.files import atomic
from ...shards.redaction import redacted
from ...shards.settings import as_yaml


class MetricLogger(Protocol):
    """Writes numbers of a step somewhere, and an image [H, W, 3] uint8 of the beginning of a run."""

    def write(self, step: int, values: dict[str, float]) -> None: ...

    def show(self, name: str, image: np.ndarray) -> None: ...

    def close(self) -> None: ...


class TensorBoardLogger:
    """Writes event files into the run's folder; `tensorboard --logdir runs` shows them, without what earlier files have
    of steps after `step`."""

    def __init__(self, folder: Path, step: int, config: dict[str, Any]):
        from torch.utils.tensorboard import SummaryWriter  # imports tensorboard itself

        self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1)
        self._writer.add_text("configuration", f"```\n{redacted(as_yaml(**config))}\n```", step)

    def write(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def show(self, name: str, image: np.ndarray) -> None:
        self._writer.add_image(name, image, 0, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class CsvLogger:
    """Writes log.csv, one line `step,name,value` per number, for spreadsheets; a run that goes on after `step` drops
    the lines of later steps first."""

    def __init__(self, folder: Path, step: int):
        path, kept = folder / "log.csv", ["step,name,value\n"]
        if path.exists():
            lines = [line for line in path.read_text().splitlines()[1:] if line.partition(",")[0].isdecimal()]
            kept += [f"{line}\n" for line in lines if line.count(",") == 2 and int(line.partition(",")[0]) <= step]
        with atomic(path, "w") as file:
            file.writelines(kept)
        self._file = path.open("a", buffering=1)

    def write(self, step: int, values: dict[str, float]) -> None:
        self._file.write("".join(f"{step},{name},{value!r}\n" for name, value in values.items()))

    def show(self, name: str, image: np.ndarray) -> None:
        """A table holds no images."""

    def close(self) -> None:
        self._file.close()


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

    def show(self, name: str, image: np.ndarray) -> None:
        self._run.log({name: needs("wandb").Image(image)}, step=0)

    def close(self) -> None:
        self._run.finish()
