"""A page in headless Chromium, in a frame of any width: a window is at least 500 px wide."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr"),
)
PROBE = """<script>addEventListener("load", () => setTimeout(() => {
    const boxes = [...document.querySelectorAll(".main-svg")].map(e => e.getBoundingClientRect());
    const inside = boxes.filter(b => b.width > 200 && b.right <= innerWidth && b.left >= 0).length;
    const small = [...document.querySelectorAll("body *")].filter(e => e.children.length == 0 && e.textContent.trim()
        && !e.closest("svg, script, style") && parseFloat(getComputedStyle(e).fontSize) < 11).length;
    parent.postMessage([innerWidth, inside, boxes.length, document.body.scrollWidth, small].join(" "), "*");
}, 500))</script>"""
FRAME = """<!doctype html><link rel="icon" href="data:,"><body style="margin:0">
<iframe src="{name}" style="border:0;width:{width}px;height:3000px"></iframe>
<script>addEventListener("message", e => document.title = e.data)</script>"""


def looked(page: Path, width: int, folder: Path) -> tuple[list[int], str]:
    """Width of the frame, charts inside of it, charts, width of the content and parts with tiny text; what the browser
    printed."""
    (folder / "page.html").write_text(page.read_text().replace("</body>", PROBE + "</body>"))
    (folder / "frame.html").write_text(FRAME.format(name="page.html", width=width))
    with tempfile.TemporaryDirectory() as profile:
        size = ("--window-size=1400,3000", "--virtual-time-budget=5000", f"--user-data-dir={profile}")
        call = [str(BROWSER), *QUIET, *size, "--dump-dom", f"file://{folder}/frame.html"]
        done = subprocess.run(call, capture_output=True, text=True, timeout=120)
    found = re.search(r"<title>([\d ]+)</title>", done.stdout)
    assert found, done.stderr[-2000:]
    return [int(word) for word in found[1].split()], done.stderr
