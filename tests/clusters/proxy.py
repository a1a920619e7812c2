"""A proxy on loopback in front of a real server, with faults that a test or a seed chooses.

Faults of an answer: `drop` (half of the body, then the end), `stall` (half of it, then silence), `trickle` (the body in
small parts), `short` (half of the object, as if it were all that is stored), `long`, `flip` (a byte differs), `lost`
(the server has done what was asked, and its answer does not arrive). Faults before the server is asked: `cut` (the
connection ends while the request is sent), `mute` (no answer), or a status: `429`, `503` with `Retry-After`, `403`,
`500`.
"""

import http.client
import http.server
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

READS = ("drop", "stall", "trickle", "short", "flip", "503", "429", "500")
WRITES = ("cut", "lost", "503", "500", "mute")
SLOW = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
HOP = ("transfer-encoding", "connection", "content-length", "date", "server")


class Proxy(http.server.ThreadingHTTPServer):
    """`choose(method, path)` names the fault of a request, "" for none; `asked` lists (method, path, fault)."""

    daemon_threads, request_queue_size = True, 128

    def __init__(self, upstream: int, host: str = "127.0.0.1"):
        super().__init__((host, 0), Forward)
        self.upstream, self.port = upstream, self.server_port
        self.choose: Callable[[str, str], str] = lambda method, path: ""
        self.asked: list[tuple[str, str, str]] = []
        self.lock, self.over, self.retry_after, self.silence = threading.Lock(), threading.Event(), "0", 30.0
        self.open = self.most = 0
        self.written: list[bytes] = []  # bodies of requests

    def seeded(self, seed: int, share: float, reads: Sequence[str] = READS, writes: Sequence[str] = WRITES) -> None:
        """A `share` of all requests fails; the same seed has the same faults in the same order."""
        draw = random.Random(seed)

        def choose(method: str, path: str) -> str:
            kinds = reads if method in ("GET", "HEAD") else writes
            fault = draw.choice(kinds) if draw.random() < share else ""
            return "drop" if fault in ("short", "flip") and "?" in path else fault  # a listing is not stored anywhere

        self.choose = choose

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), OSError):  # a client that leaves is no fault of the proxy
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Forward(http.server.BaseHTTPRequestHandler):
    """Sends a request on, and the answer back."""

    server: Proxy
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.open += 1
            self.server.most = max(self.server.most, self.server.open)

    def finish(self) -> None:
        with self.server.lock:
            self.server.open -= 1
        super().finish()

    def do_any(self) -> None:
        with self.server.lock:
            fault = self.server.choose(self.command, self.path)
            self.server.asked.append((self.command, self.path, fault))
        if fault == "cut":
            return self.end()
        body = self.body()
        self.server.written.append(body)
        if fault == "mute":
            self.server.over.wait(self.server.silence)
            return self.end()
        if fault.isdigit():
            return self.refuse(int(fault))
        status, headers, data = self.forward(body)
        if fault == "lost":
            return self.end()
        self.answer(status, headers, data, fault if status in (200, 206) else "")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_any

    def body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while length := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(length))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        server = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("transfer-encoding", "expect")}
        server.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
        reply = server.getresponse()
        data = reply.read()
        length = reply.headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(data))
        server.close()
        kept = {k: v for k, v in reply.headers.items() if k.lower() not in HOP}
        return reply.status, kept | {"Content-Length": length}, data

    def answer(self, status: int, headers: dict[str, str], data: bytes, fault: str) -> None:
        half = len(data) // 2
        if fault == "flip" and data:
            data = data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]
        changed = {"short": data[:half], "long": data + b"more"}.get(fault, data)
        if fault in ("short", "long"):
            data = changed
            headers = {k: v for k, v in headers.items() if "checksum" not in k.lower()}
            if self.command == "GET":
                headers["Content-Length"] = str(len(data))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "trickle":
            for at in range(0, len(data), step := max(1, len(data) // 20)):
                self.wfile.write(data[at : at + step])
                time.sleep(0.005)
            return
        self.wfile.write(data[:half] if fault in ("drop", "stall") else data)
        if fault == "stall":
            self.wfile.flush()
            self.server.over.wait(self.server.silence)
        if fault in ("drop", "stall"):
            self.end()

    def refuse(self, status: int) -> None:
        data = b"" if self.command == "HEAD" else {503: SLOW, 403: DENIED}.get(status, b"")
        self.send_response(status)
        if status in (429, 503):
            self.send_header("Retry-After", self.server.retry_after)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def end(self) -> None:
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def proxied(upstream: int) -> Iterator[Proxy]:
    """A proxy of the server at a port."""
    with Proxy(upstream) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        yield proxy
        proxy.over.set()
        proxy.shutdown()
