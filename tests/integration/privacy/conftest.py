"""Every test of privacy also reads what was logged meanwhile, as a process would write it."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from tests.integration.privacy import scan
from voiceplatform.logconf import formatter


@pytest.fixture(autouse=True)
def _log_is_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatter(console=False))
    monkeypatch.setattr(scan, "log", written)
    root = logging.getLogger()
    root.addHandler(handler)
    yield
    root.removeHandler(handler)
