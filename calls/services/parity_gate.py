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
from calls.parity.lacking import Lacks
from calls.services.parity_marks import OURS_ALONE
from calls.services.parity_pins import changed_since, pins_of
from calls.services.parity_tries import counted, tries_of
from calls.services.plan_facts import register_parity_source
from tools.loose_json import as_object

_FIX: Final = "Fix: begin a run on the page “Parity runs”"
MOST_LOOKED_AT: Final = 100
_LACKS: Final = ("missing", "empty", "cut", "unplayed")
_MUST_NOT_FAIL: Final = "let the plan ask that parity must not have failed (undecided is enough)"
_OF_A_SQUAD: Final = (
    "; no pass is given: a squad answers the number, of which its first assistant alone is "
    f"measured. Fix: try the others by hand, then {_MUST_NOT_FAIL}"
)
_NO_ASSISTANT: Final = (
    "the number has no assistant whose calls could be measured. Fix: choose one on the number's "
    "page; where its server names the assistant of each call, no run can measure that: try it by "
    f"hand, then {_MUST_NOT_FAIL}"
)
_HEARD: Final = "hear past calls again"


def gate_register() -> None:
    """Have plans and dossiers ask here."""
    register_parity_source(parity_now)


def parity_now(number: PhoneNumber) -> tuple[Parity, str]:
    """Return how the parity of a number stands, and in words why; six queries at most."""
    if number.assistant_id is None:
        return "undecided", _NO_ASSISTANT
    runs = list(
        ParityRun.objects.filter(assistant=number.assistant_id)
        .annotate(
            is_current=Q(revision=F("assistant__current_revision")),
            is_mine=Q(number__isnull=False) & Q(number=number.pk),
        )
        # The number's own first: however many a build rehearses, they hide none of these.
        .order_by("-is_mine", F("finished_at").desc(nulls_first=True))
        .defer("measures", "marks")[:MOST_LOOKED_AT]
    )
    # All that count are of the one current revision, so it is asked once what that is made of.
    now = _Now(number)
    run = next((each for each in runs if _counts(each, number, now)), None)
    if run is None:
        return "undecided", _why_none(number, runs)
    changed = changed_since(run, now.pins(run))
    if changed:
        when = f"{run.finished_at:%Y-%m-%d}" if run.finished_at else "the newest run"
        return "undecided", f"{changed} changed since the run of {when}. {_FIX}"
    words = _figures(run) + _tries(run)
    if run.verdict == "pass" and number.squad_id is not None:
        return "undecided", words + _OF_A_SQUAD
    if run.verdict == "pass":
        return "pass", words
    if run.verdict == "fail":
        return "fail", words
    if run.figures.get("withheld"):
        return "undecided", f"{words}; no pass is given: {run.figures['withheld']}"
    more = run.figures.get("more")
    return "undecided", words + (f", about {more} more" if more else "")


class _Now:
    """What answers a number now, asked for when it is needed first."""

    def __init__(self, number: PhoneNumber) -> None:
        self._number = number
        self._pins: dict[str, Any] = {}

    def pins(self, run: ParityRun) -> dict[str, Any]:
        """Return what a session of the run's revision, the current one, is made of."""
        self._pins = self._pins or pins_of(run.revision_id, self._number)
        return self._pins


def _counts(run: Any, number: PhoneNumber, now: _Now) -> bool:
    # Who cancels a run that has failed does not bring back the one before it.
    is_over = run.state == ParityRun.State.DONE or (
        run.state == ParityRun.State.CANCELLED and run.verdict == "fail"
    )
    is_of_it = run.is_current and run.number_id == number.pk
    if not (is_of_it and is_over and _is_heard(run)) or _is_of_ours_alone(run):
        return False
    return not run.model or run.model == now.pins(run)["model"]


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
    lacks = as_object(run.figures.get("lacks"))
    told = Lacks(run.figures.get("pairs", 0), **{name: int(lacks.get(name, 0)) for name in _LACKS})
    words += f"; {told.told}" if told.told else ""
    bad = [name for name, gate in gates.items() if gate.get("state") == "fail"]
    return words + (f"; over the limit: {', '.join(bad)}" if bad else "")


def _tries(run: ParityRun) -> str:
    """Say how many other runs of the same revision and number there were, and their verdicts."""
    others = [each.words for each in tries_of(run) if each.run_id != run.pk]
    return f"; {len(others)} more runs of this revision: {counted(others)}" if others else ""
