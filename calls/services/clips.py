"""Which of an assistant's words every call says alike, and their audio as far as it is rendered.

Owns what is worth rendering and what a call finds. A clip is found by its very text, so a call that
would say anything else asks the model. It must not render or write: that is ``clip_render``.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from assistants import prompt
from assistants.models import AssistantRevision
from assistants.translate import SessionPlan
from assistants.wire.vapi_config import read_assistant
from calls.models import Call, PhoneNumber, RenderedClip
from calls.numbers.phrases import sentence
from calls.services.call_variables import own_variables
from calls.services.operators import fallback_words

MOST_CHARACTERS: Final = 1_000  # about a minute and a half of speech
# What Liquid knows of a call and of nothing else (call_variables), beside the clock.
CALL_NAMES: Final = frozenset({"customer", "phoneNumber", "call", "transport"})
# The words that Liquid's ``date`` takes for this moment, as a text of their own (liquid_dates).
_MOMENTS: Final = ("now", "today")
_SAYS_A_MOMENT: Final = re.compile(rf"""(["'])\s*({"|".join(_MOMENTS)})\s*\1""")


@dataclass(frozen=True, slots=True)
class Line:
    """Words to be spoken, and how."""

    kind: str
    text: str
    language: str
    voice: str
    speed: float

    @property
    def text_hash(self) -> str:
        """Return what the words and their pace are known by."""
        return hashlib.sha256(json.dumps([self.text, self.speed]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Recorded:
    """Audio of a line, mu-law."""

    text: str
    audio: bytes


def greeting_problem(document: Mapping[str, Any], plan: SessionPlan, now: dt.datetime) -> str:
    """Return why the greeting of a document is not rendered before calls, '' if it is."""
    if plan.greeting_mode == "wait":
        return "The caller speaks first."
    if plan.greeting_mode == "generated":
        return "The model greets in its own words."
    if len(plan.greeting) > MOST_CHARACTERS:
        return f"It is longer than {MOST_CHARACTERS} characters, so the model says it."
    if not _is_same_in_every_call(document, now):
        return "It depends on the call (a variable of the caller, or the time): the model says it."
    return ""


def _is_same_in_every_call(document: Mapping[str, Any], now: dt.datetime) -> bool:
    text, own = read_assistant(document).first_message, own_variables(document)
    if not prompt.is_template(text):
        return True
    roots = {name.partition(".")[0].partition("[")[0] for name in prompt.names(text)}
    if (roots - own.keys()) & (CALL_NAMES | prompt.clock_variables(now).keys()):
        return False
    # What is rendered now and half a day later may be the same words and still be wrong at noon.
    told = (value.strip() for value in own.values() if isinstance(value, str))
    return not (_SAYS_A_MOMENT.search(text) or any(value in _MOMENTS for value in told))


def greeting_line(plan: SessionPlan) -> Line:
    """Return the greeting as it is spoken in a call with this plan."""
    return Line(RenderedClip.Kind.GREETING, plan.greeting, plan.language, plan.voice, plan.speed)


def filler_line(plan: SessionPlan) -> Line | None:
    """Return what covers a wait, None in a language that we have no words in."""
    text, spoken = sentence("filler", plan.language)
    if not plan.language.startswith(spoken):
        return None
    return Line(RenderedClip.Kind.FILLER, text, spoken, plan.voice, plan.speed)


def apology_line(
    plan: SessionPlan, number: PhoneNumber | None, language: str, *, reachable: bool
) -> Line:
    """Return what is said when the model fails: a person follows if ``reachable``, else the end.

    Without a person these are the words that Twilio would say (``operators.fallback_words``).
    """
    text, spoken = sentence("apology", language) if reachable else fallback_words(number, language)
    return Line(RenderedClip.Kind.APOLOGY, text, spoken, plan.voice, plan.speed)


def recorded(call: Call, lines: Iterable[Line | None]) -> dict[str, Recorded]:
    """Return what is rendered of ``lines`` for a call's revision, by kind; one query."""
    wanted = {line.text_hash: line for line in lines if line is not None and line.text}
    if not wanted or call.connection is None:
        return {}
    rows = RenderedClip.objects.filter(
        revision=call.revision_id,
        speech_model=call.connection.speech_model,
        voice__in={line.voice for line in wanted.values()},
        text_hash__in=wanted,
        audio_mulaw__isnull=False,
    ).values_list("kind", "text", "text_hash", "audio_mulaw")
    return {
        kind: Recorded(text, bytes(audio or b""))
        for kind, text, text_hash, audio in rows
        if wanted[text_hash].kind == kind and wanted[text_hash].text == text
    }


def is_rendered(revision: AssistantRevision | None, line: Line) -> bool:
    """Tell whether a line can be played for a revision, whichever speech model has spoken it."""
    rows = RenderedClip.objects.filter(
        revision=revision, text_hash=line.text_hash, voice=line.voice, audio_mulaw__isnull=False
    )
    return revision is not None and rows.exists()
