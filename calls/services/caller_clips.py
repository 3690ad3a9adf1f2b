"""The words of scripted callers as sound: rendered once before a run's first call.

Both stacks hear the very same bytes, so that no difference between them is one of the voice. Owns
rendering, keeping and dropping them, and asking what was said in a piece of sound.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Final

import structlog
from django.utils import timezone

from calls.models import CallerClip, ParityRun, ProviderConnection
from calls.parity.live_caller import wav_of
from calls.parity.scenario import Scenario
from calls.services.wording import speech_render
from voiceplatform.base import http

# No assistant's usual one, so that a recording tells the two apart.
VOICE: Final = "ash"
_KEPT: Final = dt.timedelta(days=1)
_BATCH: Final = 50
_TRANSCRIBE_SECONDS: Final = 10.0

log = structlog.get_logger(__name__)


def clips_render(
    run: ParityRun,
    scenarios: Mapping[str, tuple[Scenario, uuid.UUID | None]],
    connection: ProviderConnection,
) -> int:
    """Render what the run's callers say and is not there yet; return how many turns.

    Args:
        scenarios: each with the id of the past call that it was taken from, or None.

    Raises:
        RenderError: the connection's speech endpoint refused or is not there.
    """
    known = set(CallerClip.objects.filter(run=run).values_list("scenario", "turn"))
    spoken: dict[str, bytes] = {}
    made = 0
    for name, (scenario, source_call) in scenarios.items():
        for place, turn in enumerate(scenario.caller):
            if turn.action != "say" or (name, place) in known:
                continue
            if turn.text not in spoken:
                spoken[turn.text] = speech_render(connection, turn.text, VOICE)
            CallerClip.objects.get_or_create(
                run=run,
                scenario=name,
                turn=place,
                defaults={
                    "audio_mulaw": spoken[turn.text],
                    "source_call_id": source_call,
                },
            )
            made += 1
    return made


def clips_drop() -> int:
    """Drop some clips of runs that ended a day ago; return how many. A resumed run renders anew."""
    old = CallerClip.objects.filter(run__finished_at__lt=timezone.now() - _KEPT)
    ids = list(old.values_list("pk", flat=True)[:_BATCH])
    return CallerClip.objects.filter(pk__in=ids).delete()[0]


def words_in(connection: ProviderConnection | None, mulaw: bytes) -> str:
    """Return what was said in a piece of sound, '' where nobody can tell.

    A call does not fail for it: the cue that turns on the words does not come, and the caller
    hangs up in the end.
    """
    if connection is None or not mulaw:
        return ""
    headers = (
        {"api-key": connection.api_key}
        if connection.dialect == ProviderConnection.Dialect.AZURE_GA
        else {"Authorization": f"Bearer {connection.api_key}"}
    )
    try:
        with http.client(read_seconds=_TRANSCRIBE_SECONDS) as client:
            response = client.post(
                f"{connection.rest_base_url}/audio/transcriptions",
                data={"model": connection.transcription_model},
                files={"file": ("turn.wav", wav_of(mulaw), "audio/wav")},
                headers=headers,
            )
        body = response.json() if response.status_code == 200 else {}
    except (http.HTTPError, ValueError) as error:
        log.warning("caller_hears_nothing", error=type(error).__name__)
        return ""
    text = body.get("text") if isinstance(body, dict) else None
    if not isinstance(text, str):
        log.warning("caller_hears_nothing", status=response.status_code)
        return ""
    return text.strip()
