"""The kinds of files that the project writes, and how each is read."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import readings as r
from .readings import Reading

DIGEST = {"check": "digest"}  # options of a loader


@dataclass(frozen=True)
class Check:
    """A way to read a damaged file. `claimed`: a checksum is, so that nothing may change without a word."""

    name: str
    read: Reading
    claimed: bool = True
    writes: bool = False  # into the zoo, which is then copied again


@dataclass(frozen=True)
class Kind:
    """Files of a zoo, by patterns, and their checks; `harmless`: why damage may change nothing."""

    name: str
    patterns: tuple[str, ...]
    checks: tuple[Check, ...]
    harmless: str = "not read"

    def files(self, zoo: Path) -> list[Path]:
        """The files, relative to the zoo."""
        found = sorted(
            path for pattern in self.patterns for path in zoo.glob(pattern) if path.is_file() and path.stat().st_size
        )
        return [path.relative_to(zoo) for path in found]


def kinds(url: str) -> dict[str, Kind]:
    """All kinds by name; `url` is that of a server of the undamaged zoo."""
    return {kind.name: kind for kind in (*_sets(url), *_runs())}


def _loading(name: str, *loaders: str) -> tuple[Check, ...]:
    plain = [Check(loader, r.loaded(name, loader), claimed=False) for loader in loaders]
    return (*plain, *(Check(f"{loader} --check digest", r.loaded(name, loader, **DIGEST)) for loader in loaders))


def _sets(url: str) -> Iterator[Kind]:
    verify = Check("verify", r.verified("set"))
    content = Check("reading", r.read_content("set"), claimed=False)
    yield Kind("tar", ("set/*.tar",), (verify, *_loading("set", "webdataset", "webdataset-stream")), "headers, padding")
    yield Kind("beton", ("set/*.beton",), (verify, *_loading("set", "ffcv")), "what ffcv alone reads")
    pixels = Check("verify", r.verified("raw")), Check("ffcv", r.loaded("raw", "ffcv"), claimed=False)
    yield Kind("beton of pixels", ("raw/*.beton",), pixels, "what ffcv alone reads")  # pixels have no digests
    yield Kind("folder", ("set/folder/*/*",), (verify, *_loading("set", "folder")), "no pixel depends on it")
    yield Kind("idx", ("set/*.idx",), (verify, Check("webdataset", r.loaded("set", "webdataset"), claimed=False)))
    yield Kind(
        "wids", ("set/*.wids.json",), (verify, Check("webdataset", r.loaded("set", "webdataset"), claimed=False))
    )
    yield Kind("manifest.parquet", ("set/manifest.parquet",), (verify, content))
    yield Kind("manifest.columns", ("set/manifest.columns",), (verify, content))
    opened = Check("reading", r.read_content("set"))
    yield Kind("dataset.json", ("set/dataset.json",), (verify, opened), "the same values")
    resumed = Check("build, resumed and verified", r.resumed_build, writes=True)
    yield Kind("build records", ("unfinished/building/*",), (resumed,), "made again")
    halves = ("unfinished/*.tar", "unfinished/*.idx", "unfinished/*.partial", "unfinished/folder.partial/*/*")
    yield Kind("unfinished build", halves, (resumed,), "made again")
    frozen = Check("reading", r.frozen("static"), claimed=False), Check("--check digest", r.frozen("static", **DIGEST))
    static = Check("verify", r.verified("static"))
    yield Kind("static set", ("static/*/*",), (static, *frozen), "no pixel depends on it")
    notes = ("static/static.json", "static/dataset.json", "static/manifest.*")
    yield Kind("static set's description", notes, (static, *frozen))
    far = (
        Check("verify", r.checked("cache", r.remote(url)), writes=True),
        Check("webdataset", r.remote(url), claimed=False, writes=True),
        Check("webdataset --check digest", r.remote(url, **DIGEST), writes=True),
    )
    yield Kind("cache of a remote set", ("cache/tars/*", "cache/set-*/*"), far, "fetched again")


def _runs() -> Iterator[Kind]:
    for name in ("last.pt", "best.pt", "epoch-0001.pt"):
        path = f"run/{name}"
        whole = Check("verify", r.checked("run", r.files_of(path)))
        checks = whole, Check("resume", r.resumed(name)), Check("evaluate", r.evaluated(path))
        if name == "last.pt":
            checks += Check("--teacher", r.taught(path)), Check("--pretrained", r.begun(path))
        yield Kind(name, (path,), checks, "padding, or of no use to this reading")
    for name in ("pth", "safetensors"):
        path = f"converted/net.{name}"
        whole = Check("verify", r.checked(path, r.files_of(path)))
        checks = whole, Check("evaluate", r.evaluated(path)), Check("--pretrained", r.begun(path))
        yield Kind(f"converted .{name}", (path,), checks, "padding, or of no use to this reading")
    whole = Check("verify", r.checked("features", r.files_of("features/*")))
    yield Kind("features", ("features/*",), (whole, Check("evaluate", r.features, writes=True)), "made again")
    for name, reading, harmless in (
        ("results.json", Check("evaluate", r.results, claimed=False, writes=True), "not read"),
        ("config.json", Check("resume", r.continued, claimed=False, writes=True), "written again"),
        ("log.jsonl", Check("resume", r.continued, claimed=False, writes=True), "not read"),
    ):
        whole = Check("verify", r.checked("run", r.files_of(f"run/{name}")), claimed=False)
        yield Kind(name, (f"run/{name}",), (whole, reading), harmless)
