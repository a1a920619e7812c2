"""Handlers for HTTP servers of files: one serves ranges, one does not."""

import http.server
import re
from pathlib import Path


class Ranged(http.server.SimpleHTTPRequestHandler):
    """Python's file server with ranges; the first `failing` requests for a range get a 500."""

    failing = 0
    ranges = True

    def do_GET(self):
        requested = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        path = Path(self.translate_path(self.path))
        if not requested or not self.ranges or not path.is_file():
            return super().do_GET()
        if Ranged.failing:
            Ranged.failing -= 1
            return self.send_error(500)
        data = path.read_bytes()
        first, last = int(requested[1]), min(int(requested[2]), len(data) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        self.wfile.write(data[first : last + 1])

    def log_message(self, *_):
        pass


class Whole(Ranged):
    """It refuses ranges: every answer is the whole file."""

    ranges = False

    def end_headers(self):
        self.send_header("Accept-Ranges", "none")
        super().end_headers()
