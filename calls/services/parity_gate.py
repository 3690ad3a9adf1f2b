"""What plans and dossiers are told of a number's parity: its newest finished measure.

Owns which run counts: one of the number, of the revision that answers it now, that has ended and
in which callers were heard. Reads what is stored and plays nothing.
"""

from __future__ import annotations

from typing import Any, Final

from django.db.models import F, Q

from calls.models import ParityRun, PhoneNumber
from calls.numbers.plan import Parity
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
        .annotate(is_current=Q(revision=F("assistant__current_revision")))
        .order_by(F("finished_at").desc(nulls_first=True))
        .defer("measures", "marks", "options")[:MOST_LOOKED_AT]
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
    heard = run.has_audio and run.figures.get("audio_pairs", 0) > 0
    is_done = run.state == ParityRun.State.DONE
    return bool(run.is_current and is_done and heard and run.number_id == number.pk)


def _why_none(number: PhoneNumber, runs: list[Any]) -> str:
    mine = [run for run in runs if run.number_id == number.pk]
    done = [run for run in mine if run.state == ParityRun.State.DONE]
    if any(run.is_current and run.state in ("queued", "running") for run in mine):
        return "a run is under way"
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
    bad = [name for name, gate in gates.items() if gate.get("state") == "fail"]
    return words + (f"; over the limit: {', '.join(bad)}" if bad else "")
