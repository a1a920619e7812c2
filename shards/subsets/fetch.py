"""Published lists as text: from a folder, or fetched once from their authors, and always checked by content."""

import base64
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from ..errors import UserError
from ..files import atomic, make_folder, spared
from ..lists import class_names, parse, read
from ..redaction import Redacted, redacted
from ..sources.source import Source
from ..sources.web import WEB, check, check_redirect, joined
from .lists import Listing
from .published import CLASSES, CLASSSETS, PUBLISHED, Published

LONGEST = 1 << 26  # bytes of a list; the longest published one has 4 MB


def listing(name: str, folder: Path | None, source: Source) -> Listing:
    """The published list of subset `name`; UserError when the source has other classes."""
    if len(source.classes) != CLASSES:  # checked before anything is fetched
        raise _other_classes(source, name)
    expected = PUBLISHED[name]
    text = text_of(expected, folder)
    paths, label = parse(text, expected.file)
    counts = np.bincount(label)
    found = (len(paths), int(counts.max()), int(counts.min()))
    # The hash is right, so other figures are a fault of our own table.
    assert found == (expected.lines, expected.largest, expected.smallest), found
    if any(source.classes[c] != path.partition("/")[0] for path, c in zip(paths, label.tolist(), strict=True)):
        raise _other_classes(source, name)
    return Listing(expected.file, paths, label, hashlib.sha256(text).hexdigest())


def class_listing(name: str, folder: Path | None) -> tuple[list[str], str]:
    """The class names of a published class set, and the sha256 of its text."""
    text = text_of(CLASSSETS[name], folder)
    return class_names(text, CLASSSETS[name].file), hashlib.sha256(text).hexdigest()


def text_of(published: Published, folder: Path | None) -> bytes:
    """The text of a list from `folder`, else $VIEWSTREAM_LISTS, else the user's cache or the network."""
    folder = lists_folder(folder)
    if folder is None:
        return _cached(published)
    path = file_in(folder, published)
    if path is None:
        file = published.file
        raise UserError(f"{folder} has no {file} and no {file}.gz: put it there, or {published.remedy}")
    text, _ = read(path)
    if blob(text) != published.blob:
        raise UserError(
            f"{path} is not the published list (git blob {blob(text)}, not {published.blob}): "
            f"fetch it from {published.base}"
        )
    return text


def lists_folder(folder: Path | None) -> Path | None:
    """The folder of lists by the option `folder` or the environment, None without either."""
    environment = os.environ.get("VIEWSTREAM_LISTS")
    return folder or (Path(environment) if environment else None)


def file_in(folder: Path, published: Published) -> Path | None:
    """The list's file in a folder, under our name or the authors', plain or gzipped."""
    names = [name + suffix for name in (published.file, published.original) if name for suffix in ("", ".gz")]
    return next((folder / name for name in names if (folder / name).exists()), None)


def _other_classes(source: Source, name: str) -> UserError:
    can_draw = PUBLISHED[name].exponent is not None
    remedy = "--draw-subset draws the same shape from these" if can_draw else "name a list of these with --subset FILE"
    return UserError(
        f"--subset {name} is a list of ImageNet's {CLASSES} classes, {source.name} has {len(source.classes)} "
        f"({', '.join(source.classes[:3])}, ...): {remedy}"
    )


def _cached(published: Published) -> bytes:
    """The text from the user's cache, fetched into it first if it is not there."""
    file = published.file
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "viewstream" / "lists" / file
    if cache.exists() and blob(text := cache.read_bytes()) == published.blob:
        return text
    mirror = os.environ.get("VIEWSTREAM_LISTS_URL")  # one folder for all lists, under our names
    url = joined(mirror, file) if mirror else f"{published.base}/{published.original or file}"
    remedy = f"name a folder that has {file} with --lists DIR, or {published.remedy}"
    try:
        text = _fetched(url)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UserError(f"cannot fetch {url} ({redacted(str(error))}): {remedy}") from Redacted(error)
    if blob(text) != published.blob:
        raise UserError(f"{url} sent another file (git blob {blob(text)}, not {published.blob}): {remedy}")
    with spared(cache):
        make_folder(cache.parent)
        with atomic(cache) as output:
            output.write(text)
    return text


def _fetched(url: str) -> bytes:
    """What the server sends for an address, which may begin with a login. OSError if that is longer than any list."""
    check(url)
    address = urlsplit(url)
    login, _, host = address.netloc.rpartition("@")
    request = urllib.request.Request(address._replace(netloc=host).geturl())
    if login:
        encoded = base64.b64encode(unquote(login).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {encoded}")
    with urllib.request.build_opener(_WebOnly).open(request, timeout=30) as reply:
        text = reply.read(LONGEST + 1)
    if len(text) > LONGEST:
        raise OSError(f"the server sends more than {LONGEST:,} bytes")
    return text


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows no redirect from the web to another scheme, as ftp, nor from https to http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not newurl.startswith(WEB):
            raise urllib.error.HTTPError(req.full_url, code, f"a redirect to {newurl}", headers, fp)
        check_redirect(req.full_url, newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def blob(text: bytes) -> str:
    """Git's hash of a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(text) + text).hexdigest()
