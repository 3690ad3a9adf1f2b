"""Which model names belong to speech models that hold a conversation (openai_realtime.md 9.1).

Owns telling them from models that translate, write transcripts or are shut down, and which
transcribers take no hints. Pure; it must not
know connections: at Azure a name is a deployment's, which a document cannot know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from assistants.model_dates import endings

# gpt-realtime, -mini, -1.5, -2, -2.1, -2.1-mini, each with or without a date, and those to come.
_FAMILY: Final = re.compile(r"gpt-realtime(-\d{1,2}(\.\d{1,2})?)?(-mini)?(-\d{4}-\d{2}-\d{2})?")
_OTHER_WORK: Final[Mapping[str, str]] = {
    "gpt-realtime-translate": "translates and holds no conversation",
    "gpt-realtime-whisper": "writes transcripts and cannot speak",
}
# The day up to which ``model_dates.csv`` was read; what ended before it is gone.
_READ_ON: Final = "2026-11-22"
_GONE: Final[Mapping[str, str]] = {
    name: ending.shutdown for name, ending in endings().items() if ending.shutdown <= _READ_ON
}
_ENDING: Final[Mapping[str, str]] = {
    name: ending.shutdown for name, ending in endings().items() if ending.shutdown > _READ_ON
}
# Transcribers that take neither keywords nor a prompt (openai_realtime.md 2.4).
TAKE_NO_HINTS: Final = ("gpt-realtime-whisper", "gpt-4o-transcribe-diarize")


def is_speech_model(name: str) -> bool:
    """Tell whether a model of this name holds a conversation by voice and is still there."""
    return _FAMILY.fullmatch(name) is not None and name not in _GONE


def why_no_speech_model(name: str) -> str:
    """Return why a model cannot answer calls, as the rest of a sentence on it."""
    if name in _GONE:
        return f"was shut down on {_GONE[name]}"
    return _OTHER_WORK.get(name, "is no speech model")


def shutdown_date(name: str) -> str:
    """Return the day (ISO 8601) on which OpenAI shuts a model down, '' when none is announced."""
    return _ENDING.get(name, "")
