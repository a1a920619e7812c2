"""Servers that ask for fewer requests: they get time, and no library asks them more often than the one policy does."""

import http.server
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial

import pytest

from viewstream.pipeline.readers.fetch import RemoteStore, RetryPolicy
from viewstream.shards.errors import UserError
from viewstream.shards.sources import remote, retry, servers, web
from viewstream.shards.sources.faults import as_os_error, retry_after
from viewstream.shards.sources.remote import Remote
from viewstream.shards.sources.retry import Throttled
from viewstream.trainers.training.options import Run

from .test_retry import failing

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Busy(http.server.SimpleHTTPRequestHandler):
    """Answers with the next of `server.answers` (status, Retry-After; `date` is in a second), then with files; counts
    what is open at once."""

    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        with self.server.lock:
            self.server.open += 1
            self.server.most = max(self.server.most, self.server.open)

    def finish(self):
        super().finish()
        with self.server.lock:
            self.server.open -= 1

    def do_GET(self):
        with self.server.lock:
            self.server.asked.append((self.command, self.path))
            answer = self.server.answers.pop(0) if self.server.answers else None
        if answer is None:
            time.sleep(self.server.slow)
            return super().do_GET() if self.command == "GET" else super().do_HEAD()
        self.send_response(answer[0])
        if answer[1]:
            self.send_header(
                "Retry-After", self.date_time_string(time.time() + 1) if answer[1] == "date" else answer[1]
            )
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def busy(tmp_path, monkeypatch):
    """A busy server of one file, whose pauses are short."""
    monkeypatch.setattr(retry, "FIRST", 0.01)
    monkeypatch.setattr(remote, "PAUSES", ())
    (tmp_path / "a.bin").write_bytes(b"content")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Busy, directory=str(tmp_path))) as server:
        server.answers, server.asked, server.open, server.most, server.slow = [], [], 0, 0, 0.0
        server.lock, server.url = threading.Lock(), f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("ask", ["read", "size", "exists", "entries", "open"])
def test_a_server_that_throttles_costs_no_try_and_is_never_taken_for_a_missing_file(busy, status, ask):
    busy.answers = [(status, "")] * 6
    files = Remote(busy.url)
    assert getattr(files, ask)(*([] if ask == "entries" else ["a.bin"]))
    assert not busy.answers


def test_retry_after_is_honored(busy):
    busy.answers = [(429, "1"), (503, "date")]
    began = time.monotonic()
    assert Remote(busy.url).read("a.bin") == b"content"
    assert time.monotonic() - began >= 1.9
    assert len(busy.asked) == 3


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "17"}, 17),
        ({"retry-after": " 17 "}, 17),
        ({"Retry-After": format_datetime(NOON + timedelta(seconds=90), True), "Date": format_datetime(NOON, True)}, 90),
        ({"Retry-After": format_datetime(NOON, True), "Date": format_datetime(NOON + timedelta(seconds=5), True)}, -5),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "9" * 400}, 999999999),
        ({"Retry-After": "Thu, 01 Jan 2026 12:00:00 GMT", "Date": "yesterday"}, None),
    ],
)
def test_retry_after_is_a_number_or_a_date_by_the_clock_of_the_server(headers, seconds):
    assert retry_after(headers) == seconds


def test_pauses_double_keep_to_what_is_asked_up_to_a_limit_and_differ_for_1000_ranks(monkeypatch):
    monkeypatch.setattr(retry.socket, "gethostname", lambda: "node")
    monkeypatch.setattr(retry.threading, "get_ident", lambda: 1)
    pauses = []
    for rank in range(1000):
        monkeypatch.setattr(retry.os, "getpid", lambda rank=rank: 1000 + rank)
        assert [int(retry.throttle_pause(n, None) / 2**n) for n in range(2)] == [1, 1]
        assert 32 <= retry.throttle_pause(99, None) <= 48
        assert 300 <= retry.throttle_pause(0, 86400.0) <= 450
        pauses.append(retry.throttle_pause(0, 60.0))
    assert min(pauses) >= 60
    assert max(pauses) <= 90
    assert max(sum(first <= pause < first + 1 for pause in pauses) for first in range(60, 90)) < 100


def test_a_server_that_throttles_for_too_long_ends_in_one_clear_line(monkeypatch):
    monkeypatch.setattr(retry, "FIRST", 0.001)
    slow = [Throttled("429")] * 100000
    with pytest.raises(UserError, match=r"^http://h has refused requests for 0.05 seconds \(429\): try again later"):
        retry.retry(failing(*slow), (), server="http://h", patience=0.05)
    again = failing(*slow)
    with pytest.raises(UserError, match="refused"):  # who waits for the same server next has waited already
        retry.retry(again, (), server="http://h", patience=0.05)
    assert len(again.left) == len(slow) - 1
    assert retry.retry(failing(), server="http://h") == "done"
    assert retry.retry(failing(*slow[:3]), (), server="http://h") == "done"  # a good answer starts the time again


@pytest.mark.parametrize(("rank", "lines"), [("0", 1), ("1", 0)])
def test_a_long_pause_is_noted_once_by_rank_0(monkeypatch, capsys, rank, lines):
    monkeypatch.setattr(retry, "FIRST", 0.001)
    monkeypatch.setattr(retry, "NOTED", 0.001)
    monkeypatch.setenv("RANK", rank)
    for _ in range(2):
        retry.retry(failing(Throttled("429"), Throttled("429")), (), server=f"http://noted-{rank}")
    assert capsys.readouterr().err.count("noted-0 asks for fewer requests (429): reads wait for it") == lines


def test_a_server_is_named_before_the_watchdog_ends_a_run():
    assert Run().watchdog > retry.PATIENCE + retry.NOTED


def test_throttling_and_broken_connections_are_counted_apart(monkeypatch):
    monkeypatch.setattr(retry, "FIRST", 0.001)
    slow, lost = Throttled("503", 0.0), OSError("lost")
    assert retry.retry(failing(slow, slow, lost, slow, slow, lost, slow), (0.0, 0.0), server="http://h") == "done"
    with pytest.raises(OSError, match="lost"):
        retry.retry(failing(slow, lost, slow, lost, lost), (0.0, 0.0), server="http://h")


@pytest.mark.parametrize(
    ("cause", "kind", "text"),
    [
        (ConnectionResetError("reset"), OSError, "reset"),
        (KeyError("a"), FileNotFoundError, "no such file: 'http://h/a'"),
    ],
)
def test_a_failure_that_a_library_calls_a_missing_file_is_a_failure(cause, kind, text):
    with pytest.raises(OSError, match=text) as caught, as_os_error("http://h/a"):
        raise FileNotFoundError("http://u:pw@h/a") from cause
    assert isinstance(caught.value, FileNotFoundError) == (kind is FileNotFoundError)
    assert "pw" not in str(caught.value)


def test_a_try_is_one_request(busy):
    busy.answers = [(500, "")] * 9
    with pytest.raises(OSError, match="500"):
        Remote(busy.url).read("a.bin")
    assert len(busy.asked) == 1


def test_a_process_has_a_limited_number_of_connections_to_a_server(busy, monkeypatch):
    for module in (web, servers):
        monkeypatch.setattr(module, "CONNECTIONS", 4)
    busy.slow = 0.01
    files = RemoteStore(busy.url, RetryPolicy(read_timeout=31.0))  # a file system of its own, made under this limit
    with ThreadPoolExecutor(24) as pool:
        assert set(pool.map(lambda _: files.read("a.bin"), range(60))) == {b"content"}
    assert 1 < busy.most <= 4
