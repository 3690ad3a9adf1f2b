""".env.example and the code name the same variables, and defaults in it are the real ones."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
READERS = {"text", "flag", "integer", "words"}


def names_read_by_settings() -> set[str]:
    """Return the first argument of every ``env.<reader>(...)`` and ``_key(...)`` call."""
    tree = ast.parse((ROOT / "voiceplatform" / "settings.py").read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        function = node.func
        is_reader = isinstance(function, ast.Attribute) and function.attr in READERS
        is_key = isinstance(function, ast.Name) and function.id == "_key"
        first = node.args[0]
        if (is_reader or is_key) and isinstance(first, ast.Constant):
            found.add(first.value)
    return found


def test_env_example_names_exactly_what_settings_read() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    listed = re.findall(r"^([A-Z][A-Z0-9_]*)=", text, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == names_read_by_settings()


def test_every_variable_has_its_default_in_the_comment_above_it() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if re.match(r"[A-Z]", line):
            comment = []
            while lines[number - 1].startswith("# "):
                number -= 1
                comment.append(lines[number])
            assert "efault: " in " ".join(comment), line
