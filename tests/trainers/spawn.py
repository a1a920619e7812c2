"""What the fixture `on_ranks` runs in each process that it starts."""

from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist


def call_on_rank(rank, count, folder, function, arguments):
    """Save what function(*arguments) returns on rank `rank` of `count` CPU processes as RANK.pt in `folder`."""
    group = {"init_method": f"file://{folder}/group", "rank": rank, "world_size": count}
    dist.init_process_group("gloo", **group, timeout=timedelta(seconds=300))
    torch.save(function(*arguments), Path(folder, f"{rank}.pt"))
    dist.destroy_process_group()
