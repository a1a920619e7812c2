"""What goes wrong at a server, as OSError: each protocol raises errors of its own."""

import email.utils
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from ..errors import UserError
from ..redaction import Redacted, redacted
from .retry import Stopped, Throttled

THROTTLED = (429, 503)


@contextmanager
def as_os_error(name: str) -> Iterator[None]:
    """Turn the errors of any protocol into OSError with the file's name; 401 and 403 become PermissionError, 429 and
    503 Throttled. `name` is from `show`. UserError, MemoryError and Stopped pass, and an OSError that shows no address
    with a password. A certificate that is not trusted is a UserError: a new try would not help."""
    try:
        yield
    except FileNotFoundError as error:
        if fault := _fault(error):
            raise _translated(name, fault) from Redacted(error)
        raise FileNotFoundError(2, "there is no such file", name) from Redacted(error)
    except (UserError, MemoryError, Stopped, Throttled):
        raise
    except Exception as error:  # there is no list of what a protocol raises
        made = _translated(name, error)
        if made is error:
            raise
        raise made from Redacted(error)


def _translated(name: str, error: BaseException) -> Exception:
    """The error to raise in place of one of a protocol; the same one if it can be shown."""
    text, (status, headers) = redacted(str(error)), answer(error)
    if reason := _untrusted(error):
        variable = "AWS_CA_BUNDLE" if name.startswith("s3") else "SSL_CERT_FILE"
        return UserError(
            f"{name}: the certificate of the server is not trusted ({reason}): if it is from an authority of your own, "
            f"name its certificate in the environment, {variable}=ca.pem"
        )
    if status in THROTTLED:
        return Throttled(f"{name}: the server answers {status}: {text}", retry_after(headers))
    if type(error) is OSError and status:  # its number is not one of a disk of ours
        return OSError(f"{name}: {error.strerror or text}")
    if isinstance(error, OSError) and text == str(error):
        return error
    kind = PermissionError if status in (401, 403) else OSError
    return kind(f"{name}: {type(error).__name__}: {text}")


def _fault(error: FileNotFoundError) -> BaseException | None:
    """The failure that a library calls a missing file: fsspec does so with whatever ends a request for a size."""
    cause = error.__cause__
    status = answer(cause)[0] if cause else 0
    if "NoSuchUpload" in str(cause):  # s3fs aborts an upload that has failed, or whose last answer was lost
        return cause
    lost = isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError)
    return cause if status not in (404, 410) and (status or lost) else None


def answer(error: BaseException) -> tuple[int, Mapping[str, str]]:
    """Status and headers of the answer that an error of aiohttp, or of botocore and s3fs, is about; (0, {}) if there
    was none."""
    if isinstance(status := getattr(error, "status", None), int):
        return status, getattr(error, "headers", None) or {}
    reply: Any = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    if not isinstance(reply, Mapping):
        return 0, {}
    about: Any = reply.get("ResponseMetadata", {})
    slow = reply.get("Error", {}).get("Code") == "SlowDown"  # also in the body of an answer that began well
    return 503 if slow else about.get("HTTPStatusCode", 0), about.get("HTTPHeaders", {})


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` asks for, as a number or as a date by the clock of the server; None without one."""
    lower = {name.lower(): value for name, value in headers.items()}
    asked = lower.get("retry-after", "").strip()
    if asked.isdecimal():
        return float(asked[:9])
    try:
        until = email.utils.parsedate_to_datetime(asked)
        now = email.utils.parsedate_to_datetime(lower["date"]) if "date" in lower else datetime.now(UTC)
        return (until - now).total_seconds()
    except (ValueError, TypeError):  # no date, or one without a zone
        return None


def _untrusted(error: BaseException | None) -> str:
    """What is wrong with the certificate of a server, "" if the error comes from something else."""
    while error is not None:
        reason = getattr(error, "certificate_error", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            return reason.verify_message
        error = error.__cause__ or error.__context__
    return ""
