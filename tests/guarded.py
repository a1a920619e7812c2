"""A web server that asks for a login and a token, and whose faults a test chooses."""

import base64
import http.server
import re
import sys
import threading
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

SECRETS = ("someone", "hunter2", "s3cr3t")
LOGIN, QUERY = f"{SECRETS[0]}:{SECRETS[1]}", f"?X-Amz-Date=1&X-Amz-Signature={SECRETS[2]}"
PIECE, MOST = bytes(1 << 16), 1 << 28  # of a body without end; a client that reads as much fails its test


class Guarded(http.server.SimpleHTTPRequestHandler):
    """Sends files and ranges of them to who shows login and token. `server.faults` {name: kind}: `endless`, a body
    without end; a status, as `403`; or the address that the file has moved to."""

    def do_GET(self):
        asked = urlsplit(self.path)
        path = Path(self.translate_path(asked.path))
        kind = self.server.faults.get(path.name, "")
        known = f"Basic {base64.b64encode(LOGIN.encode()).decode()}" == self.headers.get("Authorization")
        if not (known and f"?{asked.query}" == QUERY) and self.server.guarded:
            return self.send_error(401)
        if kind == "endless" and self.command == "GET":
            return self.send_endless()
        if "://" in kind:
            self.send_response(302)
            self.send_header("Location", kind)
            return self.end_headers()
        if kind.isdigit():
            return self.send_error(int(kind))
        if not path.is_file():
            self.path = asked.path  # a folder's page, or 404
            return super().do_GET()
        data = path.read_bytes()
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        first, last = (int(part[1]), min(int(part[2]) + 1, len(data))) if part else (0, len(data))
        self.send_response(206 if part else 200)
        if part:
            self.send_header("Content-Range", f"bytes {first}-{last - 1}/{len(data)}")
        self.send_header("Content-Length", str(last - first))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[first:last])

    do_HEAD = do_GET

    def send_endless(self):
        self.send_response(206 if self.headers.get("Range") else 200)
        self.end_headers()
        with suppress(OSError):  # the client has gone
            while self.server.sent < MOST:
                self.wfile.write(PIECE)
                self.server.sent += len(PIECE)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    """A client that leaves before the end is no fault."""

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def guarded(folder, ask=True):
    """A server of `folder`: `url` has the secrets in it, `open` is the same without, `sent` counts endless bytes. It
    asks for the secrets if `ask`."""
    with Server(("127.0.0.1", 0), partial(Guarded, directory=str(folder))) as server:
        server.faults, server.sent, server.guarded = {}, 0, ask
        server.open = f"http://127.0.0.1:{server.server_port}"
        server.url = f"http://{LOGIN}@127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def assert_no_secret(*texts):
    for text in texts:
        assert not [secret for secret in SECRETS if secret in str(text)], text


def assert_no_secret_below(folder):
    """Neither names nor contents of files below `folder` hold a secret."""
    for path in Path(folder).rglob("*"):
        assert_no_secret(path.relative_to(folder))
        if path.is_file():
            assert not [secret for secret in SECRETS if secret.encode() in path.read_bytes()], path
