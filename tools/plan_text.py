"""A plan in words, for plan.py."""

from collections.abc import Iterator, Mapping
from typing import Any

Plan = Mapping[str, Any]  # as `planned` of plan.py gives it


def lines(plan: Plan) -> list[str]:
    """The lines of a plan."""
    return [*_speed(plan), *_storage(plan)]


def _speed(plan: Plan) -> Iterator[str]:
    """What the host and a GPU do, and which of them limits the training."""
    what, data, gpu, machine = plan["training"], plan["set"], plan["gpu"], plan["machine"]
    cores, rate = machine["cores"], plan["images_per_second"]
    yield (
        f"{what['method']}, {what['arch']}, views {what['views']} of {what['size']} px; {data['images']:,.0f} images "
        f"of {data['megapixels']:.2f} megapixels and {data['kilobytes']:.0f} kB"
    )
    yield f"one core ({plan['measured_on']}):"
    for way in plan["ways"]:
        stages = ", ".join(f"{stage} {us:.0f}" for stage, us in way["us"].items() if us)
        yield f"  {way['flags']:<15} {way['images_per_second']:7.0f} images/s: {stages} us"
    if gpu:
        own, want = gpu["images_per_second"], gpu["images_per_second"] * machine["gpus"]
        needed = ", ".join(f"{own / way['images_per_second']:.1f} with {way['flags']}" for way in plan["ways"])
        yield f"a GPU: {own:.0f} images/s ({gpu['source']}); cores that feed it: {needed}"
        yield f"limits on {cores} cores: {plan['limit']}, at {rate:.0f} of {want:.0f} images/s{_each(plan)}"
    else:
        yield (
            f"no rate of {what['method']}, {what['arch']} on a GPU is known: `make gpu PART=train` measures it, "
            f"--step-rate names it. {cores} cores deliver {rate:.0f} images/s{_each(plan)}"
        )
    yield f"take: {plan['take']}"


def _storage(plan: Plan) -> Iterator[str]:
    """What the set takes, what is read, and how long it lasts."""
    stored, epochs, machine = plan["stored_gb"], plan["training"]["epochs"], plan["machine"]
    yield f"shards: {plan['tars']:,} tars of {plan['tar_gb'] * 1e3:.0f} MB; disk: {stored:.1f} GB for each format"
    yield (
        f"memory: {plan['pinned_gb']:.1f} GB for batches of {machine['gpus']} GPUs, and {stored:.1f} GB where the page "
        "cache is to hold the set"
    )
    yield (
        f"reading: {plan['read_mb_per_second']:.0f} MB/s from the disk or network until the page cache holds it"
        f"{_each(plan)}"
    )
    yield from nearby(plan["around"], machine["nodes"])
    yield (
        f"at {machine['nodes'] * plan['images_per_second']:.0f} images/s an epoch takes {plan['epoch_hours']:.2f} h, "
        f"{epochs} epochs {plan['hours']:.1f} h"
    )


def nearby(around: Mapping[str, float], nodes: int) -> Iterator[str]:
    """The lines on store, disks of nodes and build."""
    stage, store = around["stage_mb_per_second"], around["store_mb_per_second"]
    if nodes > 1:
        yield f"a store that they share: {store:.0f} MB/s in every epoch without --stage"
    yield (
        f"--stage: {around['stage_gb']:.1f} GB on the disk of each node; copied within the first epoch at {stage:.0f} "
        f"MB/s a node{f', {nodes * stage:.0f} MB/s from the store' if nodes > 1 else ''}, nothing is read from the "
        "store afterwards"
    )
    yield (
        f"build: {around['build_core_hours']:.2f} core hours to re-encode photographs of 500 px; with an object store "
        f"as --out the driver needs {around['stage_gb']:.1f} GB of scratch for the .beton"
    )


def _each(plan: Plan) -> str:
    nodes = plan["machine"]["nodes"]
    return f", on each of {nodes} nodes" if nodes > 1 else ""
