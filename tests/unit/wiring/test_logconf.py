"""Log lines: their shape, and what may never be read in one."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from voiceplatform import logconf

pytestmark = pytest.mark.unit

PLANTED = "hunter2-secret"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Configure logging to a buffer, as a process would, and put everything back."""
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr(logconf, "_process", "media")
    root = logging.getLogger()
    before = root.handlers[:], root.level, structlog.get_config()
    levels = {name: logging.getLogger(name).level for name in logconf.QUIET}
    logconf.configure({"debug": False})
    yield out
    root.handlers[:], root.level = before[0], before[1]
    structlog.configure(**before[2])
    logging.captureWarnings(False)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def last(out: io.StringIO) -> dict[str, Any]:
    """Return the last line, parsed; key order is the line's."""
    return json.loads(out.getvalue().splitlines()[-1])


def test_a_line_has_its_keys_in_order(lines: io.StringIO) -> None:
    structlog.get_logger("x").info("call ended", zebra=1, call_sid="CA" + "0" * 32, frames_in=7)
    line = last(lines)
    assert list(line) == [
        "timestamp", "level", "process", "event", "call_sid", "zebra", "frames_in",
    ]  # fmt: skip
    assert line["process"] == "media"
    assert line["call_sid"] == "CA" + "0" * 32
    assert line["timestamp"].endswith("Z")


def test_standard_library_lines_take_the_same_road(lines: io.StringIO) -> None:
    logging.getLogger("some.library").warning(
        "dialled %s", "+15551230987", extra={"token": PLANTED}
    )
    line = last(lines)
    assert line["event"] == "dialled **********87"
    assert PLANTED not in lines.getvalue()
    assert line["level"] == "warning"


def test_context_is_on_every_line(lines: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(call_sid="CA1"):
        logging.getLogger("x").info("one")
        assert last(lines)["call_sid"] == "CA1"


@pytest.mark.parametrize(
    "key",
    [
        "token", "auth_token", "TWILIO_AUTH_TOKEN", "api_key", "apikey", "secret",
        "serverUrlSecret", "password", "Authorization", "cookie", "x_twilio_signature",
        "credentials", "FIELD_ENCRYPTION_KEYS",
    ],
)  # fmt: skip
def test_secret_keys_are_redacted_at_any_depth(lines: io.StringIO, key: str) -> None:
    structlog.get_logger().info("x", **{key: PLANTED}, nested={"list": [{key: [PLANTED]}]})
    assert PLANTED not in lines.getvalue()
    assert last(lines)[key] == logconf.REDACTED


def test_counts_with_telling_names_stay() -> None:
    assert logconf.redact_value("input_tokens", 12) == 12
    assert logconf.redact_value("keys", ["a"]) == ["a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+15551230987", "**********87"),
        ("15551230987", "*********87"),
        ("from +1 (555) 123-0987 to", "from ***************87 to"),
        ("mail ann.lee+x@clinic.example.com now", "mail **************************om now"),
        ("took 1234 ms at 12:30", "took 1234 ms at 12:30"),
        ("6f9619ff-8b86-4011-b42d-001234567890", "6f9619ff-8b86-4011-b42d-001234567890"),
        ("GET /twilio/media/6f96/s3cr3t-token?x", "GET /twilio/media/[redacted]?x"),
        ("GET /twilio/shadow/6f96/s3cr3t-token?x", "GET /twilio/shadow/[redacted]?x"),
        ("GET /twilio/media/run/6f96/s3cr3t", "GET /twilio/media/[redacted]"),
        ('"/web/media/s3cr3t"', '"/web/media/[redacted]"'),
        ("Bad Gateway: /tool-shim/s3cr3t", "Bad Gateway: /tool-shim/[redacted]"),
    ],
)
def test_numbers_mail_addresses_and_media_tokens_in_text(text: str, expected: str) -> None:
    assert logconf.redact_text(text) == expected


def test_call_sid_is_never_masked() -> None:
    assert logconf.redact_value("call_sid", "+15551230987") == "+15551230987"


def test_tracebacks_are_redacted(lines: io.StringIO) -> None:
    try:
        raise ValueError("bad number +15551230987 on /twilio/media/id/s3cr3t")
    except ValueError:
        logging.getLogger("x").exception("failed")
    assert "1230987" not in lines.getvalue()
    assert "s3cr3t" not in lines.getvalue()
    assert "ValueError" in last(lines)["exception"]


def test_access_lines_and_4xx_are_silent(lines: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").info('"WebSocket /twilio/media/1/s3cr3t" [accepted]')
    logging.getLogger("uvicorn.access").warning("GET /twilio/media/1/s3cr3t")
    logging.getLogger("django.request").warning("Not Found: /twilio/media/1/s3cr3t")
    logging.getLogger("celery.app.trace").info("Task succeeded")
    assert lines.getvalue() == ""


def test_deep_and_odd_values_end(lines: io.StringIO) -> None:
    deep: dict[str, Any] = {}
    deep["self"] = deep
    structlog.get_logger().info("x", deep=deep, data=b"+15551230987", thing={1, 2}, odd=object())
    assert "[deep]" in lines.getvalue()
    assert last(lines)["data"] == "**********87"


def test_console_lines_are_redacted_too() -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logconf.formatter(console=True))
    record = logging.LogRecord("x", logging.INFO, "f", 1, "to +15551230987", None, None)
    handler.emit(record)
    assert "1230987" not in out.getvalue()
    assert "to ***" in out.getvalue()


def test_an_error_of_postgresql_does_not_quote_the_row(lines: io.StringIO) -> None:
    quoted = f"null value\nDETAIL:  Failing row contains (1, {PLANTED}\n\nand {PLANTED})."

    def fail() -> None:
        try:
            raise ValueError(quoted)
        except ValueError as error:
            raise RuntimeError(quoted) from error

    for raising in (fail, lambda: _in_a_group(fail)):
        try:
            raising()
        except (RuntimeError, ExceptionGroup):
            structlog.get_logger("x").exception("stream_failed")
            logging.getLogger("django.request").exception("failed")
    assert PLANTED not in lines.getvalue()
    first = json.loads(lines.getvalue().splitlines()[0])["exception"]
    assert "null value" in first and "RuntimeError" in first and "direct cause" in first


def _in_a_group(work: Callable[[], None]) -> None:
    try:
        work()
    except RuntimeError as error:
        raise ExceptionGroup("tasks", [error]) from None
