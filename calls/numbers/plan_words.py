"""What a plan's transitions and a number's standing are called, for those who read the record.

Pure. Owns the short words of an entry and what a page shows of a number, so that whoever presses a
button can be compared with what stood there. It must not decide anything.
"""

from __future__ import annotations

from calls.numbers.entries import Entry
from calls.numbers.plan import FULL, Plan, PlanState, Progress

# Entries after which a person is wanted, with the line of the notice: no name, no number.
NOTICES = {
    "number stopped": "A number of a plan was stopped and waits for a person",
    "approval": "A number of a plan waits for an approval",
    "plan paused": "A plan has paused itself",
    "plan finished": "A plan has finished",
}


def entry_words(entry: Entry) -> str:
    """Return what happened in a few words; why is the entry's own."""
    evidence = entry.evidence
    match entry.action:
        case "wave opened":
            return f"day {evidence['wave']} opened with {_count(len(evidence['numbers']))}"
        case "step ordered":
            return f"from {evidence['from']}% to {evidence['to']}% of the calls"
        case "step ordered again":
            return "the same step was ordered again"
        case "step seen":
            return f"{evidence['percent']}% of the calls come to us now"
        case "step approved":
            return f"the step to {evidence['percent']}% was approved"
        case "number taken up":
            return "the plan goes on from the share the number had"
        case "number held":
            return f"held by {', '.join(evidence) or 'its gates'}"
        case "number stopped":
            return "stopped; a person says what now"
        case "number skipped":
            return "left out; its route stays as it is"
        case "plan changed":
            return f"changed: {', '.join(name.replace('_', ' ') for name in evidence)}"
        case "number put back":
            return f"put back, attempt {evidence['attempt']}"
        case "number arrived":
            return "arrived: every call comes to us"
        case _:
            return entry.action


def notice_of(entry: Entry, plan_id: str) -> str:
    """Return the subject of the notice that an entry wants, '' when it wants none."""
    if entry.action == "number held":
        # With another gate shut an approval would move nothing yet.
        return NOTICES["approval"] if set(entry.evidence) == {"approval"} else ""
    if entry.who != f"plan:{plan_id}":
        return ""  # a person did it, and knows
    return NOTICES.get(entry.action, "")


def seen_of(progress: Progress) -> str:
    """Return how a number stands, in a form a page can hold and send back."""
    pending = "" if progress.pending is None else progress.pending.key
    return f"{progress.phase}/{progress.percent}/{progress.attempt}/{pending}"


def summary_of(plan: Plan, state: PlanState) -> str:
    """Return how far a plan is, e.g. ``3 of 7 there, 1 on its way, 1 stopped``."""
    count = dict.fromkeys(("done", "moving", "stopped", "skipped"), 0)
    for each in state.numbers:
        if each.phase in count:
            count[each.phase] += 1
    words = [f"{count['done']} of {len(state.numbers)} there"]
    words += [
        f"{number} {what}"
        for what, number in (
            ("on the way", count["moving"]),
            ("stopped", count["stopped"]),
            ("left out", count["skipped"]),
        )
        if number
    ]
    return ", ".join(words)


def gate_words(plan: Plan) -> tuple[str, ...]:
    """Return what a plan asks of a number before each step, one line a gate."""
    gates = plan.gates
    parity = {
        "pass": "parity has passed",
        "undecided is enough": "parity has not failed",
        "not asked": "parity is not asked",
    }[gates.parity]
    approval = {
        "none": "no approval",
        "first step": "an approval of the first step",
        "every step": "an approval of every step",
    }[gates.approval]
    return (
        "no incident is open, the call policy has been reviewed, nothing blocks the number",
        parity,
        approval,
        f"the last step has stood for {gates.soak.total_seconds() // 60:.0f} minutes and "
        f"{gates.least_calls} calls",
        f"at most {gates.budget_share:.1%} of these calls were bad, {gates.budget_least} always "
        "allowed",
        f"P95 of the first word under {gates.first_word_p95_ms} ms, of answers under "
        f"{gates.turn_p95_ms} ms",
    )


def share_words(percent: int) -> str:
    """Return a share as a route: ``Vapi``, ``canary 5%`` or ``direct``."""
    if percent == 0:
        return "Vapi"
    return "direct" if percent == FULL else f"canary {percent}%"


def _count(numbers: int) -> str:
    return f"{numbers} number{'' if numbers == 1 else 's'}"
