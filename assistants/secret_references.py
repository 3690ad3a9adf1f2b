"""Secrets in exported files: ``${SECRET:NAME}`` in their place, and the way back at an import.

Owns the form of a reference, how one is named, and ``secrets.env``, the file that supplies values.
Pure functions on parsed JSON. A reference is resolved only where ``redaction`` sees a secret, so
that no file can carry a secret into a prompt. It must not know rows, folders or Django.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from assistants.findings import SECRET_MISSING, Finding
from assistants.wire.files import step
from voiceplatform.base.redaction import MASK, redact
from voiceplatform.base.redaction_urls import url_parts

SECRETS_FILE: Final = "secrets.env"
# A list of credentials is one secret as a whole; its value is JSON text.
_REFERENCE: Final = re.compile(r"\$\{SECRET(?P<json>_JSON)?:(?P<name>[A-Z][A-Z0-9_]*)\}")
_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]*")
_WORDS: Final = re.compile(r"[A-Za-z0-9]+")
_MISSING: Final = "The file names the secret "


class SecretsFileProblem(Exception):
    """A line of ``secrets.env`` that cannot be read; the text never quotes a value."""


@dataclass(slots=True)
class _Walk:
    """What is collected on the way through a document."""

    prefix: str = ""
    values: dict[str, str] = field(default_factory=dict)
    unresolved: list[tuple[str, str]] = field(default_factory=list)

    def name_for(self, words: tuple[str, ...], value: str) -> str:
        """Return a new name made of the prefix and where the secret stands."""
        parts = [part for word in words for part in _WORDS.findall(word)]
        base = "_".join([self.prefix, *parts]).upper()
        name, count = base, 1
        while name in self.values:
            count += 1
            name = f"{base}_{count}"
        self.values[name] = value
        return name


def with_references(document: Any, prefix: str) -> tuple[Any, dict[str, str]]:
    """Return ``document`` with a reference for each secret, and the values by name.

    Args:
        prefix: begins every name, in upper case; capital letters, digits and underscores.
    """
    walk = _Walk(prefix)
    return _referenced(document, redact(document), (), walk), walk.values


def _referenced(raw: Any, shown: Any, words: tuple[str, ...], walk: _Walk) -> Any:
    if isinstance(raw, str):
        return raw if raw == shown else _url_with_references(raw, words, walk)
    if isinstance(raw, list):
        labels = [_label(item, index) for index, item in enumerate(raw)]
        return [
            _referenced(item, shown[index], (*words, labels[index]), walk)
            for index, item in enumerate(raw)
        ]
    if not isinstance(raw, Mapping):
        return raw
    found: dict[str, Any] = {}
    for name, value in raw.items():
        if name in shown:
            found[name] = _referenced(value, shown[name], (*words, name), walk)
        elif value in ("", MASK):
            found[name] = value
        elif isinstance(value, str):
            found[name] = f"${{SECRET:{walk.name_for((*words, name), value)}}}"
        else:
            text = json.dumps(value, ensure_ascii=False)
            found[name] = f"${{SECRET_JSON:{walk.name_for((*words, name), text)}}}"
    return found


def _url_with_references(raw: str, words: tuple[str, ...], walk: _Walk) -> str:
    """Replace what ``redact_url`` masks, piece by piece; what is masked already stays so."""
    return "".join(
        f"${{SECRET:{walk.name_for(words, piece)}}}" if is_secret and piece != MASK else piece
        for piece, is_secret in url_parts(raw)
    )


def _label(item: Any, index: int) -> str:
    """Name a list element by what it is called, so that its place may change."""
    if isinstance(item, Mapping):
        function = item.get("function")
        for name in (function.get("name") if isinstance(function, Mapping) else None,) + tuple(
            item.get(key) for key in ("name", "key", "provider")
        ):
            if isinstance(name, str) and _WORDS.search(name):
                return name[:60]
    return str(index)


def with_values(document: Any, secrets: Mapping[str, str]) -> tuple[Any, list[tuple[str, str]]]:
    """Return ``document`` with its references resolved, and (path, name) of those that are not.

    A secret without a value is left out, and masked in an address: both keep what is stored.
    """
    walk = _Walk()
    return _valued(document, redact(document), "$", secrets, walk), walk.unresolved


def _valued(raw: Any, shown: Any, path: str, secrets: Mapping[str, str], walk: _Walk) -> Any:
    if isinstance(raw, str):
        return raw if raw == shown else _url_with_values(raw, shown, path, secrets, walk)
    if isinstance(raw, list):
        return [
            _valued(item, shown[index], step(path, index), secrets, walk)
            for index, item in enumerate(raw)
        ]
    if not isinstance(raw, Mapping):
        return raw
    found: dict[str, Any] = {}
    for name, value in raw.items():
        below = step(path, name)
        if name in shown:
            found[name] = _valued(value, shown[name], below, secrets, walk)
            continue
        match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            found[name] = value
            continue
        value = _resolved(match, secrets)
        if value is None:
            walk.unresolved.append((below, match["name"]))
        else:
            found[name] = value
    return found


def _resolved(match: re.Match[str], secrets: Mapping[str, str]) -> Any:
    text = secrets.get(match["name"])
    if not text or not match["json"]:
        return text or None
    try:
        return json.loads(text)
    except ValueError:
        return None


def _url_with_values(
    raw: str, shown: str, path: str, secrets: Mapping[str, str], walk: _Walk
) -> str:
    def value(match: re.Match[str]) -> str:
        if match[0] in shown:
            return match[0]  # it stands where everybody could read the value
        text = secrets.get(match["name"])
        if not text:
            walk.unresolved.append((path, match["name"]))
        return text or MASK

    return _REFERENCE.sub(value, raw)


def missing_findings(unresolved: list[tuple[str, str]]) -> tuple[Finding, ...]:
    """Say of each reference without a value what to do about it."""
    return tuple(
        Finding(
            path,
            SECRET_MISSING,
            f"{_MISSING}{name}, and nothing supplies it. Fix: write {name}=… into {SECRETS_FILE} "
            "beside the files and import them again, or enter the secret in the admin.",
        )
        for path, name in unresolved
    )


def still_missing(finding: Finding, merged: Any) -> bool:
    """Tell whether ``finding`` is one of ours and nothing was stored in its place.

    Args:
        merged: the document as it will be stored, with the secrets that stay.
    """
    if not finding.message.startswith(_MISSING):
        return False
    return finding.path not in _secret_paths(merged, redact(merged), "$")


def _secret_paths(raw: Any, shown: Any, path: str) -> set[str]:
    if isinstance(raw, str):
        return {path} if raw != shown else set()
    found: set[str] = set()
    if isinstance(raw, list):
        for index, item in enumerate(raw):
            found |= _secret_paths(item, shown[index], step(path, index))
    elif isinstance(raw, Mapping):
        for name, value in raw.items():
            below = step(path, name)
            found |= {below} if name not in shown else _secret_paths(value, shown[name], below)
    return found


def read_secrets(text: str) -> dict[str, str]:
    """Read ``secrets.env``: lines ``NAME=value``, blank lines and lines that begin with ``#``.

    A value in double quotes is a JSON string, for line breaks and blanks at its ends.

    Raises:
        SecretsFileProblem: a line is neither; it is named by its number.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not _NAME.fullmatch(name):
            raise SecretsFileProblem(f"line {number} is not NAME=value with a name in capitals")
        if value.startswith('"'):
            try:
                value = json.loads(value)
            except ValueError:
                raise SecretsFileProblem(
                    f"line {number}: {name} begins with a quotation mark and is no JSON string"
                ) from None
        if value:
            found[name] = value
    return found


def secrets_line(name: str, value: str = "") -> str:
    """Return the line of ``secrets.env`` that ``read_secrets`` reads back."""
    plain = value.strip() == value and not value.startswith('"') and len(value.splitlines()) <= 1
    return f"{name}={value if plain else json.dumps(value)}"
