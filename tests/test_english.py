"""Comments, docstrings, messages, help and docs use plain English and the field's words."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLACES = (
    "shards",
    "augment",
    "pipeline",
    "trainers",
    "testing",
    "tools",
    "examples",
    "tests",
    "docs",
    "README.md",
    "SECURITY.md",
)
SENTENCE = 3  # words from which on a string is taken for text; shorter ones may be keys or names
UNITS = "second|minute|sample|image|class|view|batch|step|epoch|thread|core|rank|process|call|method|file|row|line|tar"
COUNTED = r"samples|images|bytes|ms|us|px|files|rows|lines|steps|seconds|GB|MB|batches|calls|classes|views|img"
AMERICAN = (  # as torch spells
    r"(optimi|normali|initiali|synchroni|recogni|seriali|quanti|randomi|minimi|maximi|summari|organi|solari)s(e|es|ed|er"
    r"|ers|ing|ation)|colour\w*|cent(re|res|red)|neighbour\w*|behaviour\w*|labell\w+|unlabelled"
    r"|cancelled|grey\w*|favour\w*|honour\w*|analyse\w*|catalogue|artefact\w*|modelling|travelled|travelling"
)
RULES = {  # pattern -> what to write instead
    r"behind": "after, past, through or for",
    r"anew|whoever|nobody|heed(s|ed|ing)?": "again; who; no one; react to",
    r"told|said": "say who passes what to whom",
    r"pictures?": "image",
    r"an? [\w/-]+ an? \w+": "one X per Y",
    rf"({COUNTED}) an? ({UNITS})": "X per Y",
    AMERICAN: "the American spelling",
}
POSSESSIVE = re.compile(r"\b(?!it's|that's|let's|there's|what's)[\w.]+'s(?=[.;:,)]|$)", re.IGNORECASE)
RULE = {re.compile(rf"\b({pattern})\b", re.IGNORECASE): remedy for pattern, remedy in RULES.items()}


def strings(tree: ast.AST) -> Iterator[tuple[int, str, bool]]:
    """(line, text, whether it opens a docstring or a help text) of a file's strings that are sentences."""
    openers: set[int] = set()
    parts: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            openers.add(id(node.body[0].value))  # type: ignore[attr-defined]
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Annotated":
            openers |= {id(one) for one in ast.walk(node.slice) if isinstance(one, ast.Constant)}
        if isinstance(node, ast.JoinedStr):
            parts |= {id(one) for one in node.values}
            pieces = [str(one.value) if isinstance(one, ast.Constant) else "X" for one in node.values]
            yield node.lineno, "".join(pieces), False
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.lineno, node.value, id(node) in openers


def prose(path: Path) -> Iterator[tuple[int, str, bool]]:
    """The text that a person reads in a file, code in backticks left out."""
    text = path.read_text()
    if path.suffix == ".md":
        text = re.sub(r"```.*?```", lambda block: "\n" * block[0].count("\n"), text, flags=re.DOTALL)
        for number, line in enumerate(text.splitlines(), 1):
            yield number, line, False
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("#! "), False
    for number, string, opener in strings(ast.parse(text)):
        if opener or len(string.split()) >= SENTENCE:
            yield number, string, opener


def faults(path: Path) -> Iterator[str]:
    """What a file says in other words than the house's."""
    for number, text, opener in prose(path):
        plain = " ".join(re.sub(r"`[^`]*`|--[\w-]+|https?://\S+|\"[^\"]*\"", "X", text).split())
        where = f"{path.relative_to(ROOT)}:{number}"
        for rule, remedy in RULE.items():
            for hit in rule.finditer(plain):
                yield f"{where}: {hit[0]!r} -> {remedy}"
        if hit := POSSESSIVE.search(plain):
            yield f"{where}: {hit[0]!r} -> name what is possessed"
        if opener and plain.lower().startswith("of "):
            yield f"{where}: begins with 'of' -> begin with what it is"


@pytest.mark.parametrize("place", PLACES)
def test_the_text_keeps_to_the_words_of_the_field(place):
    path = ROOT / place
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix in (".py", ".md"))
    found = [fault for file in files if file != Path(__file__) for fault in faults(file)]
    assert not found, "\n".join(found)
