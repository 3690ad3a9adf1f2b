"""Logging of every process: JSON lines (or a console under DEBUG) with one redaction for all.

Owns the shape of a line (timestamp, level, process, event, call_sid, then the rest), what may not
be read in it, and which libraries are quiet. ``settings.LOGGING_CONFIG`` names ``configure``, so
standard-library loggers and structlog end in the same place in every process.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import structlog

FIRST_KEYS = ("timestamp", "level", "process", "event", "call_sid")
REDACTED = "[redacted]"
# Never redacted: ids that are needed to find a call, and fields that this module writes itself.
PLAIN_KEYS = frozenset({"timestamp", "level", "process", "logger", "call_sid", "call_id"})

_SECRET_KEY = re.compile(
    r"(?:secret|password|passwd|token|authorization|cookie|signature|credential|api_?key|"
    r"private_?key|encryption_?key)s?$",
    re.IGNORECASE,
)
# The token in a media path is the only proof a caller's socket brings; whoever has that of a
# recording address reaches a customer's tool server.
_SECRET_PATH = re.compile(r"(/(?:(?:twilio|web)/media|twilio/shadow|tool-shim)/)([^\s\"'?#]+)")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_E164_IN_TEXT = re.compile(r"(?<!\w)\+\d[\d\s().-]{5,18}\d(?!\w)")
_BARE_NUMBER = re.compile(r"\d{10,15}")
# What PostgreSQL adds to an error quotes the row, and a row may hold what was said.
_QUOTED_ROW = re.compile(
    r"(\n[ |]*DETAIL:).*?(?=\n[ |]*(?:The above exception was|During handling of)|\Z)", re.DOTALL
)
_MAX_DEPTH = 6

_process = "manage"


def set_process(name: str) -> None:
    """Name this process in its log lines; the last call wins."""
    global _process
    _process = name


def _masked(text: str) -> str:
    """Return ``text`` with everything but its last two characters hidden."""
    return "*" * (len(text) - 2) + text[-2:]


def redact_text(text: str) -> str:
    """Return ``text`` without tokens in paths, telephone numbers and e-mail addresses."""
    text = _SECRET_PATH.sub(lambda match: match[1] + REDACTED, text)
    text = _EMAIL.sub(lambda match: _masked(match[0]), text)
    if _BARE_NUMBER.fullmatch(text):
        return _masked(text)
    return _E164_IN_TEXT.sub(lambda match: _masked(match[0]), text)


def redact_value(key: str, value: Any, depth: int = 0) -> Any:
    """Return ``value`` fit for a log line under ``key``; containers are walked, not changed."""
    if key in PLAIN_KEYS:
        return value
    if value is None or isinstance(value, (bool, int, float)):
        return value  # counts such as `input_tokens` are no secrets
    if _SECRET_KEY.search(key) and value:
        return REDACTED
    if depth >= _MAX_DEPTH:
        return "[deep]"
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, bytes):
        return redact_text(value.decode("utf-8", "replace"))
    if isinstance(value, Mapping):
        return {str(k): redact_value(str(k), v, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact_value("", item, depth + 1) for item in value]
    return redact_text(str(value))


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Structlog processor: redact every field of a line, its text included."""
    return {key: redact_value(key, value) for key, value in event.items()}


def _add_process(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.setdefault("process", _process)
    return event


def _quote_no_rows(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    text = event.get("exception")
    if isinstance(text, str):
        event["exception"] = _QUOTED_ROW.sub(rf"\1 {REDACTED}\n", text)
    return event


def _order(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    first = {key: event[key] for key in FIRST_KEYS if key in event}
    return first | {key: value for key, value in event.items() if key not in first}


def _shared_processors() -> list[Callable[..., Any]]:
    """Return what happens to a line wherever it comes from."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_process,
    ]


def formatter(*, console: bool) -> structlog.stdlib.ProcessorFormatter:
    """Return the formatter that renders and redacts every line."""
    render: list[Callable[..., Any]]
    if console:
        render = [redact, _order, structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())]
    else:
        render = [redact, _order, structlog.processors.JSONRenderer()]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared_processors(),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            _quote_no_rows,
            *render,
        ],
    )


# Level per library logger. Access lines are absent on purpose: paths carry tokens and numbers.
QUIET: dict[str, int] = {
    "django": logging.INFO,
    "django.request": logging.ERROR,  # 4xx are answers, not faults
    "django.channels.server": logging.ERROR,
    "django.server": logging.ERROR,
    "django.security.DisallowedHost": logging.CRITICAL,  # scanners; the client reads 400
    "django.utils.autoreload": logging.WARNING,
    "daphne": logging.WARNING,
    "uvicorn": logging.WARNING,
    "uvicorn.access": logging.CRITICAL,
    "celery": logging.WARNING,
    "kombu": logging.WARNING,
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "websockets": logging.WARNING,
    "twilio": logging.WARNING,
    "asyncio": logging.WARNING,
}


def configure(options: Mapping[str, Any]) -> None:
    """Send every line of this process to standard output; ``options``: ``debug``.

    Called by ``django.setup`` as ``LOGGING_CONFIG``; a second call replaces the first.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter(console=bool(options["debug"])))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name, level in QUIET.items():
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(level)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            *(step for step in _shared_processors() if not isinstance(step, _EXTRA)),
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


_EXTRA = structlog.stdlib.ExtraAdder  # for lines of the standard library only
