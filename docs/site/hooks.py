"""Links of a page to files outside of the documentation, as tests and examples, become their names."""

import re
from typing import Any

LINK = r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?:\.\./){%d}([^)#]+)(?:#[^)]*)?\)"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    outside = LINK % (page.file.src_uri.count("/") + 1)  # steps that lead out of docs
    return re.sub(outside, lambda link: f"`{link[2]}`" if link[1] == link[2] else f"{link[1]} (`{link[2]}`)", markdown)
