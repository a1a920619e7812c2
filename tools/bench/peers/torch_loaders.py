"""Loaders on torch's DataLoader: random crops and flips by torchvision on PIL images, in worker processes."""

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from viewstream.shards.errors import needs
from viewstream.tools.bench.loaders.job import Case, Job

Transform = Callable[[Any], Any]


def torchvision_folder(job: Job) -> Case:
    """ImageFolder and DataLoader."""
    data = ImageFolder(str(job.manifest.root / "folder"), transform=transform(job))
    options: dict[str, Any] = {"num_workers": job.threads, "persistent_workers": True, "drop_last": True}
    loader = DataLoader(data, job.batch, shuffle=True, **options)
    return lambda epoch: sum(len(batch[1]) for batch in islice(loader, job.batches))


def stock_webdataset(job: Job) -> Case:
    """webdataset's pipeline with a shuffle buffer and PIL decoding."""
    wds = needs("webdataset")
    tars = [str(tar) for tar in job.manifest.tars()]
    data = (
        wds.WebDataset(tars, shardshuffle=False, nodesplitter=None, workersplitter=None, empty_check=False)
        .shuffle(500)
        .decode("pil")
        .to_tuple("jpg", "cls")
        .map_tuple(transform(job), _same)
        .slice(job.samples // job.threads)
    )
    loader = DataLoader(data, job.batch, num_workers=job.threads, persistent_workers=True)
    return lambda epoch: sum(len(batch[1]) for batch in loader)


def transform(job: Job) -> Transform:
    """An image -> one uint8 tensor per crop; plain functions, which worker processes can receive."""
    views = []
    for crop in job.crops:
        moves = (transforms.RandomResizedCrop(crop.size, crop.area, crop.ratio), transforms.RandomHorizontalFlip())
        views.append(transforms.Compose([*moves, transforms.PILToTensor()]))
    return partial(_each, views)


def _each(views: list[Transform], image: Any) -> list[Any]:
    return [view(image) for view in views]


def _same(value: Any) -> Any:
    return value
