"""What must not be shown or stored: the passwords and tokens in addresses. Every room may import this module."""

import re
import traceback

HIDDEN = "***"
# In text, from `://` on: a user with a password, up to the last @ of the address or, if the password has a slash, of
# the word; then everything from the ? on, because no list of the names of tokens is complete. Neither holds spaces, and
# punctuation that ends a sentence stays.
_LOGIN = re.compile(r"(?<=://)(?:[^/?#\s:\[]*:(?!\d*(?:[/?#\s\"']|\Z))\S*@|[^/?#\s]*@)")
_QUERY = re.compile(r"(://[^\s\"'<>?]*)\?[^\s\"'<>]+?(?=[)\]:;,.]*(?:[\s\"'<>]|\Z))")


def redacted(text: str) -> str:
    """The text, with *** in place of user, password and query of each address in it."""
    if "://" not in text:
        return text
    return _QUERY.sub(rf"\1?{HIDDEN}", _LOGIN.sub(f"{HIDDEN}@", text))


def bare(url: str) -> str:
    """The address without user, password and query, for names of files. A path is returned as it is."""
    return _QUERY.sub(r"\1", _LOGIN.sub("", url)) if "://" in url else url


class Redacted(Exception):
    """An error of a library as the cause of ours: its traceback as text, because the error itself shows addresses."""

    def __init__(self, error: BaseException):
        super().__init__("\n" + redacted("".join(traceback.format_exception(error))))
