"""A web server that fails on request."""

import http.server
from pathlib import Path


class Moody(http.server.SimpleHTTPRequestHandler):
    """Sends whole files; `faults` {name: kinds} lists what goes wrong, one kind per request; `asked` lists requests."""

    def do_GET(self):
        name = self.path.rpartition("/")[2]
        self.server.asked.append(name)
        kinds = self.server.faults.get(name, [])
        data = (Path(self.directory) / name).read_bytes() if (Path(self.directory) / name).exists() else None
        kind = kinds.pop(0) if kinds else ""
        if data is None or kind in ("500", "403"):
            return self.send_error(int(kind or 404))
        half = len(data) // 2
        body = {"drop": data[:half], "stall": data[:half], "short": data[:half], "long": data + b"more"}.get(kind, data)
        if kind == "flip":
            body = data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]
        self.send_response(200)
        self.send_header("Content-Length", str(len(data) if kind in ("drop", "stall") else len(body)))
        self.end_headers()
        self.wfile.write(body)
        if kind == "stall":
            self.server.over.wait(10)

    def log_message(self, *_):
        pass
