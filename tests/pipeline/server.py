"""A web server whose faults the test chooses."""

import http.server
import re
import threading
from functools import partial
from pathlib import Path


class FaultyServer(http.server.ThreadingHTTPServer):
    """Sends the files of a folder; `faults` {name: kinds} lists the faults of the next requests for a file, `asked`
    all names that were requested, `commands` how. It knows ranges if `ranges`."""

    request_queue_size = 64  # many ask at once

    def __init__(self, folder, ranges=False):
        super().__init__(("127.0.0.1", 0), partial(FaultyHandler, directory=str(folder)))
        self.ranges = ranges
        self.url = f"http://127.0.0.1:{self.server_port}/many"
        self.asked, self.faults, self.commands = [], {}, set()
        self.changed, self.over = threading.Condition(), threading.Event()

    def note(self, name):
        with self.changed:
            self.asked.append(name)
            self.changed.notify_all()

    def wait_for_request(self, name, timeout=30):
        with self.changed:
            assert self.changed.wait_for(lambda: name in self.asked, timeout), f"no request for {name}"


class FaultyHandler(http.server.SimpleHTTPRequestHandler):
    """Sends whole files or parts, or the fault that is next for this file."""

    def do_GET(self):
        name = self.path.rpartition("/")[2]
        self.server.note(name)
        kinds = self.server.faults.get(name, [])
        path = Path(self.directory) / name
        data = path.read_bytes() if path.exists() else None
        kind = kinds.pop(0) if kinds else ""
        if data is None or kind in ("500", "403", "404"):
            return self.send_error(int(kind or 404))
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "") if self.server.ranges else None
        if part:
            data = data[int(part[1]) : int(part[2]) + 1]
        half = len(data) // 2
        body = {"drop": data[:half], "stall": data[:half], "short": data[:half], "long": data + b"more"}.get(kind, data)
        if kind == "flip":
            body = data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]
        self.send_response(206 if part else 200)
        self.send_header("Content-Length", str(len(data) if kind in ("drop", "stall") else len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
        if kind == "stall":
            self.server.over.wait(10)

    do_HEAD = do_GET

    def log_request(self, *_):
        self.server.commands.add(self.command)

    def log_message(self, *_):
        pass
