"""The file systems of fsspec, set up alike for all servers: a limited number of connections, a limited silence, and no
retries of their own, which would multiply with ours (`retry.py`): s3fs and botocore try a read 25 times."""

import re
from typing import Any

from ..errors import UserError, needs
from .web import CONNECTIONS, is_web, session

_KEYS = re.compile(r"\w+://(?!arn:)[^/]*[:@]")  # a bucket's name has neither sign, that of an access point has colons
BUCKETS = ("s3://", "s3a://", "gs://", "gcs://")
SILENCE = 60.0  # seconds without data


def file_system(url: str, silence: float = SILENCE) -> tuple[Any, str]:
    """The file system of a URL and its name for it. All threads of a process share one, and its connections. A server
    may take any time for a file, because sizes are not known in advance, but be silent for `silence` seconds only."""
    is_s3 = url.startswith(("s3://", "s3a://"))
    if url.startswith(BUCKETS) and _KEYS.match(url):  # libraries take them for a name, which they show
        raise UserError(
            f"{url} has keys in its address, where no library reads them: name the bucket alone, and give the keys in "
            "the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or in the files of its library (~/.aws)"
        )
    core = needs("fsspec.core")
    options = _web(silence) if is_web(url) else _s3(silence) if is_s3 else {}
    try:
        fs, root = core.url_to_fs(url, **options)
    except ImportError as error:
        raise UserError(f"{url}: {error}: pip install 'viewstream[remote]' brings it") from error
    except ValueError as error:
        raise UserError(f"{url} is no address that can be read: {error}") from error
    if is_s3:
        fs.retries = 1
    return fs, root


def _web(silence: float) -> dict[str, Any]:
    limits = needs("aiohttp").ClientTimeout(total=None, sock_connect=silence, sock_read=silence)
    return {"get_client": session, "client_kwargs": _configured("http", "client_kwargs") | {"timeout": limits}}


def _s3(silence: float) -> dict[str, Any]:
    ours = {
        "max_pool_connections": CONNECTIONS,
        "connect_timeout": silence,
        "read_timeout": silence,
        "retries": {"total_max_attempts": 1},
    }
    return {"config_kwargs": _configured("s3", "config_kwargs") | ours}


def _configured(protocol: str, key: str) -> dict[str, Any]:
    """What the user's configuration of fsspec has there, which options in code would replace."""
    return needs("fsspec.config").conf.get(protocol, {}).get(key, {})
