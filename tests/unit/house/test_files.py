"""What holds for every tracked file: sizes, docstrings, no leftovers, no traces of a machine, links
that resolve, and decisions in their one form.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.unit.house.source_tree import PACKAGES, ROOT, SourceTree

pytestmark = pytest.mark.unit

MAX_LINES = 600
BROAD_HANDLERS = {"calls/media/consumer.py", "calls/media/journal.py", "calls/tasks.py"}
ADR_WORDS = 600  # one page
# Kept as found, or written by a tool: nothing in them is ours to reword.
FOREIGN = re.compile(r"^tests/fixtures/vapi/(assistants|tools|squads|payloads|calls)/\d+.*\.json$")
GENERATED = re.compile(r"/migrations/\d+_.*\.py$")


def _joined(text: str) -> str:
    """Return the text without its hyphens: this file may not contain what it looks for."""
    return text.replace("-", "")


LEFTOVER = re.compile(_joined(r"\b(TO-DO|FIX-ME|HA-CK|X-XX)\b"))
MACHINE = re.compile(_joined(r"(?<![\w.}])/(wo-rk|ro-ot|ho-me)/"))
REGISTRY = re.compile(
    _joined(r"\b(py-pi\.org|python-hosted\.org|npm-js\.(org|com)|registry\.\w+\.(org|com|io))\b")
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
ADR_NAME = re.compile(r"^(\d{4})-[a-z0-9]+(-[a-z0-9]+)*\.md$")


@cache
def tracked() -> tuple[str, ...]:
    """Return the tracked files that exist, relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    return tuple(name for name in listed if name and (ROOT / name).is_file())


def texts(*, suffix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (path, text) of the tracked text files that are ours."""
    for name in tracked():
        if not name.endswith(suffix) or FOREIGN.match(name):
            continue
        raw = (ROOT / name).read_bytes()
        if raw.startswith(b"\xff\xfe"):
            yield name, raw.decode("utf-16")
        elif b"\0" not in raw:
            yield name, raw.decode("utf-8")


def found(pattern: re.Pattern[str]) -> list[str]:
    """Return ``path:line: text`` of every line of ours that matches."""
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_files_are_listed() -> None:
    assert {"LICENSE", "pyproject.toml", "tests/unit/house/test_files.py"} <= set(tracked())


def test_no_shipped_module_is_too_long() -> None:
    long = {
        name: count
        for name, text in texts(suffix=".py")
        if name.split("/")[0] in PACKAGES and not GENERATED.search(name)
        if (count := text.count("\n")) > MAX_LINES
    }
    assert not long, f"split by subject: {long}"


def has_docstring(text: str) -> bool:
    """Tell whether a module has one; only what does not begin with it plainly is parsed."""
    return text.startswith('"""') or ast.get_docstring(ast.parse(text)) is not None


def test_every_module_says_what_it_owns() -> None:
    silent = [
        name
        for name, text in texts(suffix=".py")
        if text.strip() and not GENERATED.search(name) and not has_docstring(text)
    ]
    assert not silent, "a module docstring is missing: " + ", ".join(silent)


def broad_handlers(text: str) -> list[int]:
    """Return the lines of handlers that catch everything."""
    if not re.search(r"\b(Base)?Exception\b|\bexcept[\s\\*]*:", text):
        return []  # no need to parse it
    return [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or re.search(r"\b(Base)?Exception\b", ast.unparse(node.type)))
    ]


def test_everything_is_caught_in_the_named_places_only() -> None:
    """The frame around the driver, the journal loop, the task wrapper; once each."""
    broad = {
        name: lines
        for name, text in texts(suffix=".py")
        if name.split("/")[0] in PACKAGES and (lines := broad_handlers(text))
    }
    assert set(broad) <= BROAD_HANDLERS, broad
    assert all(len(lines) == 1 for lines in broad.values()), broad


def test_broad_handlers_are_found() -> None:
    bad = "try:\n pass\nexcept (OSError, Exception):\n pass\ntry:\n pass\nexcept:\n pass"
    assert broad_handlers(bad) == [3, 7]
    assert broad_handlers("try:\n pass\nexcept ExceptionGroup:\n pass") == []


@pytest.mark.parametrize(
    "pattern", [LEFTOVER, MACHINE, REGISTRY], ids=["leftover", "machine", "registry"]
)
def test_nothing_is_left_over(pattern: re.Pattern[str]) -> None:
    assert found(pattern) == []


@pytest.mark.parametrize(
    ("pattern", "bad", "good"),
    [
        (LEFTOVER, "# TO-DO: later", "todo list, hackathon"),
        (MACHINE, "cd /wo-rk/main", "https://example.com/work/ and ./home/x"),
        (MACHINE, "HOME=/ro-ot/", "the /rooter/ path"),
        (REGISTRY, "https://files.python-hosted.org/x", "pypi is a word"),
        (REGISTRY, "https://py-pi.org/simple", "pypi is a word"),
    ],
)
def test_the_patterns_can_fail(pattern: re.Pattern[str], bad: str, good: str) -> None:
    assert pattern.search(_joined(bad))
    assert not pattern.search(good)


def test_links_in_documents_resolve() -> None:
    broken = [
        f"{name}: {target}"
        for name, text in texts(suffix=".md")
        for target in LINK.findall(re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.S))
        if not re.match(r"[a-z]+:|#", target)
        if not (ROOT / name).parent.joinpath(target.split("#")[0]).exists()
    ]
    assert not broken, broken


def test_the_architecture_names_what_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    tree = SourceTree.shipped()
    packages = "|".join(PACKAGES)
    dotted = set(re.findall(rf"\b(?:{packages})(?:\.[a-z_]+)+\b(?!/)", text))
    modules = [name for name in dotted if not name.endswith((".py", ".md"))]
    paths = set(re.findall(rf"`((?:{packages}|tests|docs|templates)/[\w/.-]+)`", text))
    assert modules
    assert paths
    # The last part may be a function; the module before it has to exist.
    homes = {name: tree.owner(name) or "" for name in modules}
    lost = [m for m, home in homes.items() if home.count(".") < max(1, m.count(".") - 1)]
    assert not lost, lost
    assert [path for path in paths if not (ROOT / path).exists()] == []


def adrs() -> list[Path]:
    return sorted((ROOT / "docs" / "adr").glob("*.md"))


def test_decisions_are_numbered_without_gaps() -> None:
    names = [path.name for path in adrs()]
    assert all(ADR_NAME.match(name) for name in names), names
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


def test_decisions_are_listed_in_the_architecture() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    assert [path.name for path in adrs() if f"(adr/{path.name})" not in text] == []


@pytest.mark.parametrize("path", adrs(), ids=lambda path: path.name)
def test_decision_has_its_form(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.startswith(f"# {path.name[:4]} "), "title starts with the number"
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["## Context", "## Decision", "## Consequences"]
    assert len(text.split()) <= ADR_WORDS, "one page"
