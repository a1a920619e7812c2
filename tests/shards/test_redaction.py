"""No password and no token of an address is shown."""

import traceback

import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.redaction import Redacted, bare, redacted

SHOWN = {
    "http://u:pw@h/a/b.tar?X-Amz-Signature=abc&sig=d": "http://***@h/a/b.tar?***",
    "http://token@h:80/a": "http://***@h:80/a",
    "s3://key:secret@bucket/a": "s3://***@bucket/a",
    "http://u:p@w@h/a": "http://***@h/a",
    "http://u:p/w@h/a": "http://***@h/a",
    "http://u:8p?w@h/a": "http://***@h/a",
    "https://h?token": "https://h?***",
    "zip://a.tar::https://u:pw@h/a.zip": "zip://***@h/a.zip",
}
KEPT = (
    "http://h:80/a@b",
    "http://h/a.tar",
    "hf://datasets/a/b@main/c",
    "http://[::1]:80/a",
    "file:///a b",
    "data/a?b=c",
    "a@b: c",
    "",
)


@pytest.mark.parametrize("url", SHOWN)
@pytest.mark.parametrize(
    "sentence", ["{}", "no {}: name another", "({}), 3", "url='{}', 'a@b'", '{{"a": "{}", "b": 1}}']
)
def test_login_and_query_of_an_address_are_hidden_wherever_it_stands(url, sentence):
    assert redacted(sentence.format(url)) == sentence.format(SHOWN[url])


@pytest.mark.parametrize("text", KEPT)
def test_other_text_stays_as_it_is(text):
    assert redacted(text) == bare(text) == text


def test_names_of_files_are_made_of_addresses_without_login_and_query():
    assert bare("http://u:pw@h:80/a/set?sig=b") == "http://h:80/a/set"
    assert bare("http://u:pw@h") == "http://h"


def test_an_error_of_the_user_hides_them_by_itself():
    assert str(UserError("http://u:pw@h/a?sig=b is gone: name another")) == "http://***@h/a?*** is gone: name another"


def test_the_cause_of_an_error_is_shown_without_them():
    def begin():
        try:
            raise KeyError("http://u:pw@h/first")
        except KeyError as error:
            raise ValueError("http://h/second?sig=pw") from error

    def fail():
        try:
            begin()
        except ValueError as error:
            raise OSError("no use") from Redacted(error)

    with pytest.raises(OSError, match="no use") as caught:
        fail()
    text = "".join(traceback.format_exception(caught.value))
    assert "pw" not in text
    assert "http://***@h/first" in text
    assert "in begin" in text
