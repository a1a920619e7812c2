"""Sets at a URL: the manifest is fetched into a cache folder, the tars stay where they are."""

import dataclasses
import hashlib
import json
import os
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal

from ...shards.columns import FILE, fault, write_columns
from ...shards.errors import UserError
from ...shards.files import PAGE, atomic, digest_of, make_folder
from ...shards.info import JSON
from ...shards.locks import LOCK, alone
from ...shards.manifest import Manifest
from ...shards.names import open_file
from ...shards.redaction import HIDDEN, bare, redacted
from ...shards.seals import opened
from ...shards.sources.local import Local
from ...shards.sources.storage import Storage
from ...shards.table import TABLE
from ...shards.unpack import MAX_PIXELS, parsed_json
from .fetch import DEFAULT_RETRY, RemoteStore, RetryPolicy

TARS = "tars"  # the folder for the tars of all sets, next to the folders of the manifests
ORIGIN = "remote.json"  # next to a fetched manifest: the URL of its tars, how many bytes of them may be cached, mbps
CACHE = Path("data/cache")
Form = Literal["webdataset", "ffcv"]  # a format that is read at a URL
FORMS: tuple[Form, ...] = ("webdataset", "ffcv")
LIMIT = 100 * 10**9  # bytes
PAGE_ROOM = 1 << 28  # bytes of a dataset.json: no server may fill the disk
TABLE_ROOM, ROW = 1 << 26, 1 << 10  # bytes of a manifest.parquet, and more for each sample


def open_remote(
    url: str,
    cache_folder: str | os.PathLike[str],
    limit: int = LIMIT,
    retry: RetryPolicy = DEFAULT_RETRY,
    *,
    max_pixels: int = MAX_PIXELS,
    mbps: float = 0.0,
) -> Manifest:
    """Fetch the manifest of the set at `url` into the cache folder, check all rows once, and open it. At most `limit`
    bytes of tars of all sets will be cached there too, each process fetching `mbps` megabits per second at most (0: no
    limit). A user and a password in the URL, and a query, which every request repeats, stay in memory. UserError when
    the set is incomplete, does not match its dataset.json, or has a row that no loader would read."""
    if "://" not in url:
        raise UserError(f"{url} is no URL: a local set is opened as a folder")
    store = RemoteStore(url.rstrip("/"), retry, mbps)
    page = store.page(PAGE, PAGE_ROOM, _page_fault)
    fields = parsed_json(page)
    digest, samples = fields["manifest"], fields["samples"]
    root, never = folder_for(Path(cache_folder), bare(store.url).rstrip("/")), threading.Event()
    root = root.with_name(f"{root.name}-{digest[:8]}")  # a set that is built again has another: who reads it goes on
    try:
        make_folder(root)
    except OSError as error:
        raise UserError(f"{root} cannot be written ({error.strerror}): name another cache folder") from error
    with alone(root / LOCK):
        if new := bool(fault(root, samples, digest)):
            if not (root / TABLE).exists() or digest_of(root / TABLE) != digest:
                with atomic(root / TABLE) as table:
                    room = TABLE_ROOM + ROW * samples
                    store.fetch(TABLE, Path(table.name), room, partial(_table_fault, digest=digest), never)
            write_columns(root)
        write_origin(root, store.url, limit, mbps)
        with atomic(root / PAGE) as file:
            file.write(page)
    made = dataclasses.replace(Manifest.open(root, max_pixels=max_pixels), url=store.url)
    try:
        forms(made)
        if new:
            made.check_all()
    except UserError:
        (root / FILE).unlink(missing_ok=True)  # else the next start would take the rows for checked
        raise
    return made


def open_built(where: str | os.PathLike[str], cache_folder: Path = CACHE, max_pixels: int = MAX_PIXELS) -> Manifest:
    """A built set, in a folder or at a URL."""
    if "://" in (where := os.fspath(where)):
        return open_remote(where, cache_folder, max_pixels=max_pixels)
    return Manifest.open(where, max_pixels=max_pixels)


def folder_for(cache: Path, place: str) -> Path:
    """The folder in a cache that describes the set at `place`."""
    return cache / f"{place.rpartition('/')[2]}-{hashlib.sha256(place.encode()).hexdigest()[:12]}"


def forms(manifest: Manifest) -> list[Form]:
    """The formats in which a set at a URL can be read; UserError for class folders alone, a request for each image of
    which would find it."""
    found: list[Form] = [form for form in FORMS if form in manifest.info.formats]
    if not found:
        raise UserError(
            f"{origin_of(manifest)[0]} holds a folder of images, and sets at a URL are read from tars or a .beton: "
            "build it with --format webdataset or ffcv"
        )
    return found


def since(manifest: Manifest, error: UserError) -> UserError:
    """The error of a file at a URL; another one if the set there was built again since it was opened."""
    store = RemoteStore(origin_of(manifest)[0], RetryPolicy(()))
    try:
        fields = parsed_json(store.page(PAGE, PAGE_ROOM, _page_fault))
    except UserError:
        return error
    if fields["manifest"] == manifest.info.manifest:
        return error
    return UserError(
        f"{store.show()} was built again since it was opened ({error}): start again, it is read as it is now"
    )


def _page_fault(page: bytes) -> str:
    """What is wrong with a dataset.json, "" for nothing."""
    try:
        fields = opened(parsed_json(page))
    except ValueError as error:
        return f"it is damaged: {error}"
    known = isinstance(fields, dict) and isinstance(fields.get("manifest"), str) and type(fields.get("samples")) is int
    return "" if known and fields["manifest"] else "it describes no set"


def _table_fault(table: Path, digest: str) -> str:
    """What is wrong with a manifest.parquet, "" for nothing."""
    return "" if digest_of(table) == digest else f"its sha256 is not what {PAGE} says"


def name_in_cache(line: JSON) -> str:
    """The name, among TARS, of a tar that `dataset.json` describes in `line`; another after the set is built again."""
    return hashlib.sha256(f"{line['digest']} {line['file']}".encode()).hexdigest()


def is_remote(manifest: Manifest) -> bool:
    """Whether `open_remote` fetched this manifest. UserError if a file beside it says so that it did not write."""
    if manifest.url:
        return True
    with suppress(FileNotFoundError):
        _origin(manifest.root / ORIGIN)
        return True
    return False


def write_origin(root: Path, url: str, limit: int = LIMIT, mbps: float = 0.0) -> None:
    """Write where the files of the set in folder `root` are."""
    with atomic(root / ORIGIN, "w") as file:
        own = os.fstat(file.fileno()).st_ino
        json.dump({"url": redacted(url), "limit": limit, "mbps": mbps, "file": own}, file)


def require_bare(url: str) -> None:
    """UserError for a URL with a password or a query, which no file may hold."""
    if HIDDEN in redacted(url):
        raise UserError(
            f"{url} has a password or a query, which no file may hold: leave out --out, or give it otherwise"
        )


def _origin(path: Path) -> JSON:
    """What `open_remote` wrote. The number of the file on its disk, which it holds, proves that: a file that came with
    a set has another one, and would send its readers to any server."""
    try:
        with open_file(path) as file:
            origin = parsed_json(file.read(ROW << 4))
            if origin["file"] == os.fstat(file.fileno()).st_ino and isinstance(origin["url"], str):
                return origin | {"limit": int(origin["limit"]), "mbps": float(origin.get("mbps", 0))}
    except (ValueError, TypeError, KeyError, OverflowError):
        pass
    raise UserError(
        f"{path} was not written by this cache, or was copied: open the set by its URL, or remove the file to read the "
        "tars of the folder"
    )


def staged_from(root: Path) -> Path | None:
    """The folder of the local set whose files are staged, if folder `root` in a cache describes one, not a set at a
    URL. UserError if a file that was copied there says so."""
    try:
        with open_file(root / ORIGIN) as file:
            folder = parsed_json(file.read(ROW << 4)).get("folder")
    except (ValueError, AttributeError):
        folder = ""
    if folder is None:  # of a set at a URL, which verification does not ask
        return None
    folder = _origin(root / ORIGIN).get("folder")
    return Path(folder) if isinstance(folder, str) else None


def tar_storage(manifest: Manifest) -> Storage:
    """The folder that holds the tars of a set: its own, or the remote folder that it was fetched from."""
    if not is_remote(manifest):
        return Local(manifest.root)
    return RemoteStore(origin_of(manifest)[0])


def origin_of(manifest: Manifest) -> tuple[str, int, float]:
    """The URL of a set that `open_remote` fetched, how many bytes of tars may be cached, and how many megabits per
    second may be fetched. UserError if the set was opened by its cache folder and the URL had a password."""
    origin = _origin(manifest.root / ORIGIN)
    url = manifest.url or origin["url"]
    if HIDDEN in url and not manifest.url:
        raise UserError(f"{manifest.root} is of a set at {url}, and no file holds what is hidden: open it by its URL")
    return url, origin["limit"], origin["mbps"]
