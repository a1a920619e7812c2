"""The programs that are killed: the command line of each, what it begins with, and what it leaves."""

import http.server
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import simplejpeg

from viewstream.pipeline.kernels import warm_up
from viewstream.shards.files import digest_of
from viewstream.tools import (
    build_shards,
    convert_checkpoint,
    index_shards,
    make_static,
    stage_shards,
    verify_shards,
)
from viewstream.trainers import evaluate, train

from ..trainers.small_runs import EVERY, WORDS
from .contents import LOGGED, Content, cached, evaluated, staged, stored, trained, trained_from_stage
from .forked import Program
from .web import Quiet

# What programs import when they need it, imported before they are forked.
LATE = ("viewstream.trainers.training.run", "viewstream.trainers.tasks.run", "viewstream.pipeline.static.write")
LATE += ("torch._dynamo", "timm", "aiohttp", "fsspec.implementations.http", "PIL.JpegImagePlugin", "pyarrow.compute")
Words = Callable[[int], list[str]]  # of each turn
Begin = Callable[[Path], object]


def empty(folder: Path) -> None:
    """Begin with an empty folder."""


@dataclass(frozen=True)
class Case:
    """A program that works in a folder that `begin` has filled.

    `words`: its command line in each turn, the same but for what changes no result. `content`: what has its final name
    in the folder, by name; only what `moves` changes on the way. `beside`: the words of a second program, which is left
    alone. `share`: of all faults.
    """

    part: str
    fault: str
    main: Callable[[], object]
    words: Words
    content: Callable[[Path], Content]
    share: int = 2
    begin: Begin = empty
    moves: frozenset[str] = frozenset()
    beside: tuple[str, ...] = ()


class Room:
    """A source, two sets, a run and a server, which all programs read."""

    def __init__(self, root: Path):
        self.source, self.set, self.val, self.run = (root / name for name in ("pets", "set", "val", "teacher"))
        kernels = partial(warm_up, rendering=True)
        done(kernels, [], root)  # compiled there, with threads
        kernels()  # and loaded here
        for name in LATE:
            import_module(name)
        images(self.source / "train", 48)
        images(self.source / "val", 6)
        for split, out in (("train", self.set), ("val", self.val)):
            done(build_shards.main, [*self.building(out, 0), "--split", split], root)
        done(train.main, self.training("moco", "--out", str(self.run)), root)
        handler = partial(Quiet, directory=str(root))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
            self.url, self.server = f"http://127.0.0.1:{served.server_port}", Program(served.serve_forever, [], root)

    def close(self) -> None:
        self.server.process.kill()
        self.server.end()

    def building(self, out: Path | str, turn: int) -> list[str]:
        words = ["--source", str(self.source), "--out", str(out), "--format", "webdataset,ffcv,folder"]
        return [*words, "--shard-size", "100KB", "--raw-fraction", "0.2", *workers(turn)]

    def training(self, method: str, *more: str, data: Path | str = "") -> list[str]:
        words = ["--method", method, "--data", str(data or self.set), *EVERY, *WORDS[method], *more]
        teacher = ["--teacher", str(self.run / "last.pt")] if method == "seed" else []
        return [*words, "--workers", "1", "--epochs", "1", "--save-every", "2", *teacher]

    def cases(self) -> list[Case]:
        return [
            *self._sets(),
            *(self._training(method, ranks) for ranks in (1, 2) for method in WORDS),
            *(self._converting(to, out) for to, out in (("moco", "net.pth.tar"), ("timm", "net.pth"))),
            self._evaluation(),
            self._remote(),
            *self._staged(),
        ]

    def _sets(self) -> list[Case]:
        def static(formats: str) -> Callable[[int], list[str]]:
            words = ["--data", str(self.set), "--out", "static", "--size", "32", "--format", formats]
            return lambda turn: [*words, *workers(turn)]

        def archives(folder: Path) -> None:
            (folder / "set").mkdir()
            for path in self.set.glob("*.tar"):
                shutil.copy(path, folder / "set")

        def damaged(folder: Path) -> None:
            root = Path(shutil.copytree(self.set, folder / "set"))
            next(root.glob("*.beton")).unlink()
            for path in (sorted(root.glob("*.tar"))[1], *sorted(root.rglob("*.jpg"))[:2]):
                path.write_bytes(path.read_bytes()[:-600])

        def repairing(turn: int) -> list[str]:
            return ["set", "--repair", *workers(turn)]

        def indexing(turn: int) -> list[str]:
            return ["set", *workers(turn)]

        def case(part: str, fault: str, module: ModuleType, words: Words, share: int = 2, begin: Begin = empty) -> Case:
            return Case(part, fault, module.main, words, stored, share, begin)

        build = "a build in 3 formats, by 1 and 2 processes in turn"
        return [
            case("build", build, build_shards, partial(self.building, "set"), 10),
            case("index", "index_shards", index_shards, indexing, begin=archives),
            case("repair", "verify_shards --repair", verify_shards, repairing, begin=damaged),
            case("static", "a static set of class folders", make_static, static("folder"), 4),
            case("static-tars", "a static set with tars", make_static, static("folder,webdataset")),
        ]

    def _training(self, method: str, ranks: int) -> Case:
        words = self.training(method, "--out", "run", "--resume", "auto", "--ranks", str(ranks))
        part, more = ("train", "") if ranks == 1 else ("ranks", " on 2 ranks")
        fault = f"training {method}{more}"
        return Case(f"{part}-{method}", fault, train.main, lambda _: words, trained, moves=LOGGED)

    def _converting(self, to: str, out: str) -> Case:
        words, fault = [str(self.run / "last.pt"), out, "--to", to], f"convert_checkpoint to {to}"
        return Case(f"convert-{to}", fault, convert_checkpoint.main, lambda _: words, stored)

    def _evaluation(self) -> Case:
        def run(folder: Path) -> None:
            shutil.copytree(self.run, folder / "run")

        words, moves = self.evaluating(), frozenset({"log", "results"})
        fault = "an evaluation that keeps features"
        return Case("evaluate", fault, evaluate.main, lambda _: words, evaluated, 4, run, moves)

    def evaluating(self, *more: str) -> list[str]:
        words = ["--task", "knn", "--checkpoint", "run/last.pt", "--data", str(self.set), "--val", str(self.val)]
        words += ["--loader", "webdataset", "--device", "cpu", "--k", "5", "--max-k", "3", "--features", "kept"]
        return [*words, "--workers", "1", *more]

    def _remote(self) -> Case:
        words = self.training("supervised", "--resume", "auto", "--cache", "cache", data=f"{self.url}/set")
        own, beside = [*words, "--out", "run"], (*words, "--out", "other")
        fault = "training on a remote set, beside another that shares its cache"
        return Case("remote", fault, train.main, lambda _: own, cached, 4, moves=LOGGED, beside=beside)

    def _staged(self) -> list[Case]:
        def staging(turn: int) -> list[str]:
            return [str(self.set), "--stage", "stage", "--loader", "webdataset", "--cache-mbps", "2"]

        digests = frozenset(map(digest_of, self.set.glob("*.tar")))
        words, content = (
            self.training("supervised", "--resume", "auto", "--stage", "stage", "--out", "run"),
            partial(trained_from_stage, digests=digests),
        )
        copying, run = "stage_shards beside another into one folder", "training on a set that is being staged"
        beside = tuple(staging(0))
        return [
            Case("stage", copying, stage_shards.main, staging, staged, beside=beside),
            Case("train-staged", run, train.main, lambda _: words, content, moves=LOGGED),
        ]


def workers(turn: int) -> list[str]:
    return ["--workers", str(1 + turn % 2)]


def images(root: Path, count: int) -> None:
    """Class folders of small JPEGs."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog", "eel", "fox"):
        (root / name).mkdir(parents=True)
        for n in range(count):
            pixels = rng.integers(0, 256, (4, 5, 3), np.uint8).repeat(20, 0).repeat(20, 1)
            (root / name / f"{name}_{n}.JPEG").write_bytes(simplejpeg.encode_jpeg(pixels, 90))


def done(main: Callable[[], object], words: list[str], folder: Path) -> None:
    program = Program(main, words, folder)
    code, text = program.end(), program.text()
    assert code == 0, text
