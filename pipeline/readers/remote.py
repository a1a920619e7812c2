"""Sets at a URL: the manifest is fetched into a cache folder, the tars stay where they are."""

import dataclasses
import hashlib
import json
import os
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

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
    place = bare(store.url).rstrip("/")
    name = f"{place.rpartition('/')[2]}-{hashlib.sha256(place.encode()).hexdigest()[:12]}"
    root, never = Path(cache_folder) / name, threading.Event()
    try:
        make_folder(root)
    except OSError as error:
        raise UserError(f"{root} cannot be written ({error.strerror}): name another cache folder") from error
    with alone(root / LOCK), atomic(root / PAGE) as page:
        store.fetch(PAGE, Path(page.name), PAGE_ROOM, _page_fault, never)
        fields = parsed_json(Path(page.name).read_bytes())
        digest, samples = fields["manifest"], fields["samples"]
        if new := bool(fault(root, samples, digest)):
            if not (root / TABLE).exists() or digest_of(root / TABLE) != digest:
                with atomic(root / TABLE) as table:
                    room = TABLE_ROOM + ROW * samples
                    store.fetch(TABLE, Path(table.name), room, partial(_table_fault, digest=digest), never)
            write_columns(root)
        with atomic(root / ORIGIN, "w") as origin:
            own = os.fstat(origin.fileno()).st_ino
            json.dump({"url": redacted(store.url), "limit": limit, "mbps": mbps, "file": own}, origin)
    made = dataclasses.replace(Manifest.open(root, max_pixels=max_pixels), url=store.url)
    try:
        if new:
            made.check_all()
    except UserError:
        (root / FILE).unlink()  # else the next start would take the rows for checked
        raise
    return made


def _page_fault(page: Path) -> str:
    """What is wrong with a dataset.json, "" for nothing."""
    try:
        fields = opened(parsed_json(page.read_bytes()))
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
