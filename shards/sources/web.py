"""Web servers through fsspec: a body is read up to a limit, because it may be without end."""

import re
from collections.abc import AsyncIterator
from functools import cache
from typing import Any
from urllib.parse import urljoin

from ..errors import UserError, needs

WEB = ("http://", "https://")
ADDRESS = re.compile(r"https?://([^/?#]*@)?(\[[^]]*\]|[^/?#:]*)(:\d*)?([/?#].*)?", re.DOTALL)
CONNECTIONS = 32  # of a process to a server: twice what a build keeps in flight (THREADS of `engine.py`)
WHOLE = 1 << 30  # bytes of a file that is read at once, not in ranges: no image and no list is larger


def is_web(url: str) -> bool:
    """Whether a web server has it."""
    return url.startswith(WEB)


def check(url: str) -> None:
    """UserError for an address of a web server that libraries would read otherwise, and show parts of its password."""
    if is_web(url) and not ADDRESS.fullmatch(url):
        raise UserError(f"{url} is no address: write / ? and # in a password as %2F %3F and %23")


def joined(url: str, path: str) -> str:
    """The address of a file or folder below the one at `url`, whose query comes last."""
    folder, mark, query = url.partition("?")
    return f"{folder.rstrip('/')}/{path}{mark}{query}"


async def session(**options: Any) -> Any:
    """A session of aiohttp, for fsspec, which gives its options; its answers end at a limit."""
    aiohttp = needs("aiohttp")
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_redirected)
    connector = aiohttp.TCPConnector(limit=0, limit_per_host=CONNECTIONS)
    return aiohttp.ClientSession(connector=connector, response_class=_limited(), trace_configs=[trace], **options)


async def _redirected(_: Any, __: Any, moved: Any) -> None:
    headers = moved.response.headers
    check_redirect(str(moved.response.url), headers.get("Location") or headers.get("URI") or "")


def check_redirect(at: str, to: str) -> None:
    """UserError for a redirect that leaves https: what comes then, anyone on the way could have written."""
    if at.startswith("https:") and urljoin(at, to).startswith("http:"):
        raise UserError(
            f"{at} leads to {urljoin(at, to)}, which is not encrypted: name that address yourself if you trust the way "
            "there, or one that stays with https"
        )


@cache
def _limited() -> Any:
    aiohttp = needs("aiohttp")

    class Limited(aiohttp.ClientResponse):
        """An answer whose body has at most the bytes of the range that was asked for, or WHOLE."""

        async def read(self) -> bytes:
            if self._body is None:
                self._body = b"" if self.status >= 400 else b"".join([piece async for piece in self._pieces()])
            return self._body

        async def _pieces(self) -> AsyncIterator[bytes]:
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.request_info.headers.get("Range", ""))
            limit = int(asked[2]) - int(asked[1]) + 1 if asked else WHOLE
            if asked and self.status == 200 and (int(asked[1]) or (self.content_length or 0) > limit):
                raise UserError(f"{self.url} is on a server that sends whole files only, no ranges: fetch it first")
            left = limit
            async for piece in self.content.iter_any():
                if (left := left - len(piece)) < 0:
                    raise aiohttp.ClientPayloadError(f"the server sends more than {limit:,} bytes")
                yield piece

    return Limited
