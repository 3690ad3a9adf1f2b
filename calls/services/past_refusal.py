"""A caller who turns out to have refused: what was made of the past call before that was known.

Owns that it all goes, as an erasure takes it: the recording that was fetched, scenarios, pairs of
runs, the sound rendered from them, and what recording addresses kept. The call's own words are
the importer's to leave out (``call_log_store``). A run that has ended keeps its measures: nobody's
words are in them. Opens nothing sealed.
"""

from __future__ import annotations

import structlog

from calls.models import Call, CallerClip, ParityCall, ParityScenario, Recording, ToolExchange
from calls.services.recordings import recording_remove

log = structlog.get_logger(__name__)


def refusal_follow(call: Call) -> None:
    """Take away what was made of a past call; in the transaction that stores the refusal."""
    kept = Recording.objects.select_for_update(of=("self",)).filter(call=call)
    row = kept.exclude(state=Recording.State.REMOVED).select_related("call__twilio_account").first()
    if row is not None:
        recording_remove(row, "its log says that the caller refused")
    gone = 0
    for model in (CallerClip, ParityScenario, ParityCall):
        gone += model._base_manager.filter(source_call=call).delete()[0]
    bodies = ToolExchange.objects.filter(call=call, content__isnull=False)
    gone += bodies.update(content=None, url_shown="", error="")
    if row is not None or gone:
        log.info("past_call_refused", call_id=str(call.pk), rows=gone, recording=row is not None)
