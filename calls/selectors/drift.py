"""What live calls of a number are held against: the measure that its revision has passed.

Reads only. A number without a measure has no baseline, so its guard does not look at drift; a
measure of other tools or of another model is none, as for a plan's gate. What was read of a run,
which never changes once it is done, is kept in memory.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.db.models import F, Q, TextField
from django.db.models.functions import Cast

from calls.models import ParityCall, ParityRun, PhoneNumber, ToolInvocation
from calls.parity.drift_watch import Baseline, baseline_of
from calls.parity.sequence import Sequence, SequenceUnreadable, sequence_load
from calls.services.parity_pins import changed_since, pins_of
from voiceplatform.base.fields import DecryptionError, unseal

# A rehearsal is no past of real callers.
_REAL: Final = ("replay", "rehear", "live", "shadow")
_LOOK_AGAIN_SECONDS: Final = 60.0
_MOST_KEPT: Final = 500
_MOST_LOOKED_AT: Final = 20

_lock = threading.Lock()
_runs: OrderedDict[uuid.UUID, Baseline | None] = OrderedDict()
_numbers: OrderedDict[uuid.UUID, tuple[float, Baseline | None]] = OrderedDict()


def baseline_for(number_id: uuid.UUID) -> Baseline | None:
    """Return what a number's live calls are held against, None where nothing was measured.

    The newest run that passed with the revision that answers now, and with the tools and the model
    that it has now. Asked again after a minute.
    """
    now = time.monotonic()
    with _lock:
        known = _numbers.get(number_id)
    if known is not None and now - known[0] < _LOOK_AGAIN_SECONDS:
        return known[1]
    run_id = _run_for(number_id)
    found = None if run_id is None else _baseline(run_id)
    with _lock:
        _keep(_numbers, number_id, (now, found))
    return found


def baselines_forget() -> None:
    """Forget what was read; for tests, which roll back what runs are made of."""
    with _lock:
        _runs.clear()
        _numbers.clear()


def orders_of(call_ids: Iterable[uuid.UUID]) -> Mapping[uuid.UUID, list[str]]:
    """Return the names of the tools of each call in their order; a call without any is missing."""
    found: dict[uuid.UUID, list[str]] = {}
    rows = ToolInvocation.objects.filter(call__in=list(call_ids))
    for call_id, name in rows.order_by("call", "started_ms", "pk").values_list("call", "name"):
        found.setdefault(call_id, []).append(name)
    return found


def _run_for(number_id: uuid.UUID) -> uuid.UUID | None:
    found = PhoneNumber.objects.filter(pk=number_id).select_related("assistant", "organisation")
    number = found.defer("previous_target").first()
    if number is None or number.assistant is None or number.assistant.current_revision_id is None:
        return None
    rows = ParityRun.objects.filter(
        Q(number=number_id) | Q(number__isnull=True),
        assistant=number.assistant_id,
        revision=number.assistant.current_revision_id,
        state=ParityRun.State.DONE,
        verdict="pass",
        kind__in=_REAL,
    )
    passed = list(rows.order_by("-finished_at").only("kind", "options", "number")[:_MOST_LOOKED_AT])
    if not passed:
        return None
    now = pins_of(number.assistant.current_revision_id, number)
    # A run of no number was of no squad either; the order of tools has nothing to do with marks.
    mine = (run for run in passed if not changed_since(run, now, with_marks=False))
    return next((run.pk for run in mine), None)


def _baseline(run_id: uuid.UUID) -> Baseline | None:
    with _lock:
        if run_id in _runs:
            return _runs[run_id]
    found = baseline_of(_old_calls(run_id))
    with _lock:
        _keep(_runs, run_id, found)
    return found


def _old_calls(run_id: uuid.UUID) -> Iterable[Sequence]:
    """Yield the old stack's calls of a run, whole; one that no key opens is left out."""
    rows = ParityCall.objects.filter(
        run=run_id, stack=ParityCall.Stack.VAPI, state=ParityCall.State.DONE
    ).annotate(sealed=Cast(F("sequence"), TextField()))
    for text in rows.values_list("sealed", flat=True):
        try:
            if text:
                yield sequence_load(json.loads(unseal(text.encode("ascii"))))
        except (DecryptionError, SequenceUnreadable, ValueError):
            continue


def _keep(store: OrderedDict[uuid.UUID, Any], key: uuid.UUID, value: Any) -> None:
    store[key] = value
    store.move_to_end(key)
    while len(store) > _MOST_KEPT:
        store.popitem(last=False)
