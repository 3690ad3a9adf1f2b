"""The policy line as audio: rendered once per wording, so that it is always spoken the same."""

from __future__ import annotations

import warnings
from array import array

import structlog
from django.utils import timezone

from calls.models import PolicyWording, ProviderConnection
from calls.services.call_plan import connection_for
from voiceplatform.base import http

with warnings.catch_warnings():
    # Python 3.13 drops it from the standard library; audioop-lts takes its place there.
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

RATE_RATIO = 3  # the speech endpoint answers 24 kHz PCM16, the telephone carries 8 kHz
VOICE = "marin"
MAX_AUDIO_BYTES = 24_000 * 2 * 120

log = structlog.get_logger(__name__)


class RenderError(Exception):
    """The line could not be rendered; the message is for the person who edits it.

    ``status`` is what the endpoint answered, 0 when it did not.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def mulaw_of_pcm24k(pcm: bytes) -> bytes:
    """Return G.711 mu-law at 8 kHz of little-endian PCM16 at 24 kHz.

    Three samples are averaged into one, which is low-pass enough for speech on a telephone.
    """
    samples = array("h", pcm[: len(pcm) // 6 * 6])
    narrow = array(
        "h", (sum(samples[at : at + RATE_RATIO]) // RATE_RATIO for at in range(0, len(samples), 3))
    )
    return audioop.lin2ulaw(narrow.tobytes(), 2)


def speech_render(
    connection: ProviderConnection, text: str, voice: str = VOICE, *, speed: float = 1.0
) -> bytes:
    """Return ``text`` spoken, as mu-law.

    Raises:
        RenderError: the connection's speech endpoint refused or is not there.
    """
    headers = (
        {"api-key": connection.api_key}
        if connection.dialect == ProviderConnection.Dialect.AZURE_GA
        else {"Authorization": f"Bearer {connection.api_key}"}
    )
    body = {
        "model": connection.speech_model,
        "voice": voice,
        "input": text,
        "response_format": "pcm",
        **({"speed": speed} if speed != 1.0 else {}),
    }
    try:
        with http.client(read_seconds=30) as client:
            response = client.post(
                f"{connection.rest_base_url}/audio/speech", json=body, headers=headers
            )
    except http.HTTPError as error:
        raise RenderError(f"{connection.name} did not answer ({type(error).__name__})") from error
    if response.status_code != 200:
        status = response.status_code
        raise RenderError(f"{connection.name} answered {status}", status)
    if not 0 < len(response.content) <= MAX_AUDIO_BYTES:
        size = len(response.content)
        raise RenderError(f"{connection.name} sent {size} bytes of audio", 200)
    return mulaw_of_pcm24k(response.content)


def wording_render(wording: PolicyWording) -> bool:
    """Render one wording and store the audio, or the reason why there is none."""
    number = wording.policy.numbers.select_related("connection").order_by("pk").first()
    connection = connection_for(number) if number is not None else None
    error, audio = "", None
    if connection is None:
        error = "no number with a provider connection uses this policy. Fix: give it one."
    else:
        try:
            audio = speech_render(connection, wording.text)
        except RenderError as problem:
            error = str(problem)
    PolicyWording.objects.filter(pk=wording.pk, text=wording.text).update(
        audio_mulaw=audio, rendered_at=timezone.now() if audio else None, render_error=error[:300]
    )
    if error:
        log.warning("wording_not_rendered", wording=wording.pk, error=error)
    return audio is not None


def wordings_render_missing(limit: int = 5) -> int:
    """Render the wordings that have no audio yet, of policies that numbers use; return how many."""
    missing = (
        PolicyWording.objects.filter(audio_mulaw__isnull=True, policy__numbers__isnull=False)
        .select_related("policy")
        .distinct()[:limit]
    )
    return sum(wording_render(wording) for wording in missing)
