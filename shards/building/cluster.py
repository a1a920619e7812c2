"""Work on a Ray cluster, results as they finish: the engine of `--engine ray`, beside `unordered` of `engine.py`.

The driver knows at most AHEAD tasks for each CPU of the cluster, or as many as it was given workers, and their items.
`work` goes into Ray's object store once; each node takes one copy of it, each worker process keeps one.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Generic, TypeVar

from ..engine import cores
from ..errors import UserError, needs

AHEAD = 2  # tasks for each CPU: the next one waits at its node when a CPU gets free
ANSWER = 30  # seconds in which a cluster must answer
TRIES = 3  # of an item whose worker or node dies
QUIET = {"log_to_driver": False, "logging_level": logging.ERROR}
# Connecting to what does not answer takes Ray minutes that nothing can cut short, so another process tries it first.
PROBE = """import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
except Exception as error:
    text = str(error)
    sys.exit(print(text.strip().splitlines()[-1] if "Traceback" in text else text) or 1)"""
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Running(Generic[T]):
    """A task: its item, how often it was tried, and where: Ray chooses the node of a first try."""

    item: T
    tries: int = 1
    place: Any = "SPREAD"
    node: str = ""


def on_ray(
    work: Callable[[T], R],
    items: Sequence[T],
    address: str,
    workers: int,
    show: Callable[[str], object] = bool,
    name: Callable[[T], str] = str,
) -> Generator[R, None, None]:
    """`work(item)` for each item, as they finish, by the cluster at `address`, or by a Ray that is started here if it
    is empty. At most `workers` at a time; 0: as many as there are CPUs, also those that join on the way.

    An item whose worker or node dies is tried again. `show` is called with how many nodes and CPUs work, `name` is what
    messages call an item. UserError for a cluster that does not answer, a node that lacks a package, an item that TRIES
    workers died of, and what `work` raises as such; then, and on an early close, no task runs on.
    """
    with connected(address, workers) as ray:
        task, held = ray.remote(num_cpus=1, max_retries=0)(_worked), [ray.put(work)]
        running: dict[Any, Running[T]] = {}

        def start(one: Running[T]) -> None:
            running[task.options(scheduling_strategy=one.place).remote(held, one.item)] = one

        following = iter(items)
        try:
            while True:
                nodes = _nodes(ray, address)
                cpus = int(sum(node["Resources"]["CPU"] for node in nodes))
                for item in islice(following, max(0, (workers or AHEAD * cpus) - len(running))):
                    start(Running(item))
                if not running:
                    return
                for ready in ray.wait([*running], timeout=1)[0]:
                    one = running.pop(ready)
                    try:
                        result = ray.get(ready)
                    except ray.exceptions.RayError as error:
                        start(_again(ray, one, name, _nodes(ray, address), error))
                    else:
                        yield result
                free = int(ray.available_resources().get("CPU", 0))
                show(f"{cpus - free} of {cpus} CPUs on {len(nodes)} nodes")
        finally:
            for ready in running:
                ray.cancel(ready)


@contextmanager
def connected(address: str, workers: int) -> Iterator[Any]:
    """The package ray, connected to a cluster, or to one of this machine alone that ends with this process. A program
    that is connected already stays so."""
    ray = needs("ray")
    if ray.is_initialized():
        yield ray
        return
    if address:
        _probe(address)
        ray.init(address=address, **QUIET)
    else:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to the makers of Ray
        os.environ.setdefault("RAY_worker_niceness", "0")  # it would give way to all other programs, as by `nice -n 15`
        ray.init(address="local", num_cpus=workers or cores(), include_dashboard=False, **QUIET)
    try:
        yield ray
    finally:
        ray.shutdown()


def _probe(address: str) -> None:
    """UserError if no cluster answers at the address, or one that this process cannot work with."""
    if "://" in address:
        raise UserError(f"--address {address} is not HOST:PORT of a cluster's head: run the build on one of its nodes")
    remedy = "see `ray status`, and run the build on a node of the cluster"
    try:
        probe = [sys.executable, "-c", PROBE, address]
        found = subprocess.run(probe, timeout=ANSWER, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"no Ray cluster has answered at {address} in {ANSWER} seconds: {remedy}") from error
    if found.returncode:
        raise UserError(f"no work on the Ray cluster at {address}: {found.stdout.strip()}: {remedy}")


def _nodes(ray: Any, address: str) -> list[Any]:
    """What Ray tells about living nodes with CPUs; UserError if there is none, and tasks would wait for ever."""
    if nodes := [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]:
        return nodes
    raise UserError(f"the Ray cluster at {address} has no CPUs: `ray start --address HEAD:6379` adds a node")


def _worked(held: list[Any], item: Any) -> Any:
    """In a worker: the work on an item."""
    return _kept(held[0])(item)


@lru_cache(1)
def _kept(work: Any) -> Any:
    """The work, which is read from the object store once in each worker."""
    return needs("ray").get(work)


def _again(ray: Any, one: Running[T], name: Callable[[T], str], nodes: list[Any], error: Any) -> Running[T]:
    """The next try of an item whose worker or node died, on a node that is chosen here, because Ray does not tell where
    a worker dies. Raises what the task has raised, and UserError after TRIES."""
    raised = getattr(error, "cause", None)
    if raised and not isinstance(raised, ray.exceptions.RayError):
        raise _raised(error) from error
    if one.tries == TRIES:
        reason = str(error).partition(". ")[0]
        remedy = "look there for a lack of memory, or take fewer --workers"
        tried = f"{name(one.item)} was tried {TRIES} times, last on node {one.node}"
        raise UserError(f"{tried}: {reason}: {remedy}") from error
    node = nodes[one.tries % len(nodes)]
    place = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return Running(one.item, one.tries + 1, place, node["NodeManagerAddress"])


def _raised(error: Any) -> Exception:
    """What a task has raised, as it would be raised here."""
    text = str(error)
    if isinstance(error.cause, ModuleNotFoundError) or "failed to import on the worker" in text:
        node = text.partition(" ip=")[2].partition(")")[0]  # in the first line, after the task's process
        reason = text.strip().splitlines()[-1]
        return UserError(f"node {node} lacks a package ({reason}): install there what is installed here")
    return error.cause if isinstance(error.cause, UserError | OSError) else error
