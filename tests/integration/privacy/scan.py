"""Everything that is stored, as text: every row of every table with what is sealed in it, every
file of the instance, every line that was logged. What a test planted must be looked for here and
nowhere else.
"""

from __future__ import annotations

import io
import json
import zlib
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.db import models

from calls.models import CallInputChunk, ToolExchange

_PACKED = (CallInputChunk, ToolExchange)
# What this test has logged so far; a fixture puts a new one here for each.
log = io.StringIO()


def everything_stored() -> str:
    """Return every value of every row as its owner would read it, unsealed and unpacked."""
    found: list[str] = []
    for model in apps.get_models(include_auto_created=True):
        for row in model._base_manager.all():
            found += [f"{model._meta.label}.{f.attname}={_shown(row, f)}" for f in _fields(model)]
    return "\n".join(found)


def where(planted: str) -> list[str]:
    """Return the rows, files and log lines that hold a planted text, by table and column."""
    rows = [line[:120] for line in everything_stored().splitlines() if planted in line]
    rows += [f"log: {line}"[:120] for line in log.getvalue().splitlines() if planted in line]
    return rows + [str(path) for path in _files() if planted.encode() in path.read_bytes()]


def _fields(model: type[models.Model]) -> list[models.Field]:
    return list(model._meta.concrete_fields)


def _shown(row: models.Model, field: models.Field) -> str:
    value = getattr(row, field.attname)
    if isinstance(value, bytes | memoryview):
        raw = bytes(value)
        if isinstance(row, _PACKED) and raw[:1] == b"x":
            raw = zlib.decompress(raw)
        return raw.decode("utf-8", "backslashreplace").replace("\n", "\\n")
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value).replace("\n", "\\n")


def _files() -> list[Path]:
    root = Path(settings.VAR_DIR)
    return [path for path in sorted(root.rglob("*")) if path.is_file()] if root.is_dir() else []
