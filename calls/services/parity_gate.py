"""What plans and dossiers are told of a number's parity: its newest finished measure.

Owns which run counts: one of the number, of the revision and the model that answer it now, that
has ended, in which callers were heard, and whose old side was the old stack. Reads what is stored
and plays nothing.
"""

from __future__ import annotations

from typing import Any, Final

from django.db.models import F, Q

from calls.models import ParityRun, PhoneNumber
from calls.numbers.plan import Parity
from calls.services.parity_marks import OURS_ALONE
from calls.services.plan_facts import register_parity_source

_FIX: Final = "Fix: begin a run on the page “Parity runs”"
MOST_LOOKED_AT: Final = 100
_HEARD: Final = "hear past calls again"


def gate_register() -> None:
    """Have plans and dossiers ask here."""
    register_parity_source(parity_now)


def parity_now(number: PhoneNumber) -> tuple[Parity, str]:
    """Return how the parity of a number stands, and in words why; one query."""
    if number.assistant_id is None:
        return "undecided", "the number has no assistant. Fix: choose one on the number's page"
    runs = list(
        ParityRun.objects.filter(assistant=number.assistant_id)
        .annotate(
            is_current=Q(revision=F("assistant__current_revision")),
            is_answering=Q(model="") | Q(model=F("revision__model")),
            is_mine=Q(number__isnull=False) & Q(number=number.pk),
        )
        # The number's own first: however many a build rehearses, they hide none of these.
        .order_by("-is_mine", F("finished_at").desc(nulls_first=True))
        .defer("measures", "marks")[:MOST_LOOKED_AT]
    )
    run = next((each for each in runs if _counts(each, number)), None)
    if run is None:
        return "undecided", _why_none(number, runs)
    if run.verdict == "pass":
        return "pass", _figures(run)
    if run.verdict == "fail":
        return "fail", _figures(run)
    more = run.figures.get("more")
    return "undecided", _figures(run) + (f", about {more} more" if more else "")


def _counts(run: Any, number: PhoneNumber) -> bool:
    # Who cancels a run that has failed does not bring back the one before it.
    is_over = run.state == ParityRun.State.DONE or (
        run.state == ParityRun.State.CANCELLED and run.verdict == "fail"
    )
    is_of_it = run.is_current and run.is_answering and run.number_id == number.pk
    return bool(is_of_it and is_over and _is_heard(run) and not _is_of_ours_alone(run))


def _is_heard(run: Any) -> bool:
    return bool(run.has_audio and run.figures.get("audio_pairs", 0) > 0)


def _is_of_ours_alone(run: ParityRun) -> bool:
    # Past calls that this platform answered stood for the old stack.
    return bool(run.options.get(OURS_ALONE))


def _why_none(number: PhoneNumber, runs: list[Any]) -> str:
    mine = [run for run in runs if run.number_id == number.pk]
    done = [run for run in mine if run.state == ParityRun.State.DONE]
    if any(run.is_current and run.state in ("queued", "running") for run in mine):
        return "a run is under way"
    heard = [run for run in done if run.is_current and _is_heard(run)]
    if any(_is_of_ours_alone(run) for run in heard):
        return (
            "the past calls of the newest run were answered by this platform, not by the old "
            "stack. Fix: import the old stack's call logs and recordings, then begin a run"
        )
    if heard:
        return f"the newest run was of another model than the one that answers. {_FIX} of that one"
    if any(run.is_current for run in done):
        return f"no caller was heard in a run of this revision. {_FIX}: {_HEARD}"
    if done:
        return f"the assistant was changed since the newest run. {_FIX} of its new revision"
    if any(run.is_current and run.state == ParityRun.State.DONE for run in runs):
        return f"runs of the assistant name no number, or not this one. {_FIX} and choose it"
    return f"no run has been finished yet. {_FIX}: {_HEARD}"


def _figures(run: ParityRun) -> str:
    gates = run.figures.get("gates", {})
    order = gates.get("order", {})
    words = f"{run.figures.get('pairs', 0)} pairs of {run.get_kind_display().lower()}"
    if order.get("n"):
        words += (
            f", order of tools differs in {order['k']} of {order['n']} "
            f"({order['lower']:.1%} to {order['upper']:.1%})"
        )
    lacking = run.done - run.figures.get("pairs", 0) - run.figures.get("empty", 0)
    if lacking > 0:
        words += f"; {lacking} pairs could not be compared"
    bad = [name for name, gate in gates.items() if gate.get("state") == "fail"]
    return words + (f"; over the limit: {', '.join(bad)}" if bad else "")
