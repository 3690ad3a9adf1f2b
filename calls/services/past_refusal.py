"""A caller who turns out to have refused: what was made of the past call before that was known.

Owns that it all goes, as an erasure takes it: the recording that was fetched, scenarios, the sound
rendered from them, every word in pairs of runs, and what recording addresses kept. A pair stays as
one that is missing, so that a run shows it; a run that has ended keeps its measures, in which are
nobody's words. The call's own words are the importer's to leave out (``call_log_store``). Opens
nothing sealed.
"""

from __future__ import annotations

from typing import Final

import structlog
from django.utils import timezone

from calls.models import (
    Call,
    CallerClip,
    ParityCall,
    ParityScenario,
    Recording,
    RunDial,
    ShadowCall,
    ToolExchange,
)
from calls.services.recordings import recording_remove

_WHY: Final = "its log says that the caller refused"

log = structlog.get_logger(__name__)


def refusal_follow(call: Call) -> None:
    """Take away what was made of a past call; in the transaction that stores the refusal."""
    kept = Recording.objects.select_for_update(of=("self",)).filter(call=call)
    row = kept.exclude(state=Recording.State.REMOVED).select_related("call__twilio_account").first()
    if row is not None:
        recording_remove(row, _WHY)
    gone = CallerClip.objects.filter(source_call=call).delete()[0]
    gone += ParityScenario.objects.filter(source_call=call).delete()[0]
    RunDial.objects.filter(parity_call__source_call=call).update(heard=None)
    # Without its lease, whoever plays it now stores nothing of it any more.
    gone += ParityCall.objects.filter(source_call=call).update(
        state=ParityCall.State.FAILED,
        problem=_WHY,
        **dict.fromkeys(("document", "sequence", "transcript", "extras", "lease_until")),
        audio_key="",
        lease_token="",
        finished_at=timezone.now(),
    )
    ShadowCall.objects.filter(call=call).update(state=ShadowCall.State.FAILED, problem=_WHY)
    bodies = ToolExchange.objects.filter(call=call, content__isnull=False)
    gone += bodies.update(content=None, url_shown="", error="")
    if row is not None or gone:
        log.info("past_call_refused", call_id=str(call.pk), rows=gone, recording=row is not None)
