"""The dossier of a number: what was known, done, measured and approved on its way here.

Pure: facts in, the dossier out. Owns its parts, how calls are dealt to the steps of the way, and
what is said of a figure that is an estimate or missing. It must not hold a caller's number, a word
of a call or a secret; ids, figures, and the words of staff are all it has.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal

from calls.numbers.guard import EndedCall, Stack, has_hurt, p95
from calls.numbers.plan import Parity
from calls.numbers.shares import share_interval

FORMAT: Final = 1
STACKS: Final[tuple[Stack, ...]] = ("direct", "vapi")
NO_PARITY: Final = "no source yet"
_CENT: Final = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class DossierCall:
    """An ended call with what it cost us; on the old stack we pay nothing but know its length."""

    call: EndedCall
    cost_usd: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the route, by whomever. ``kind``: route, switch, net, plan or guard."""

    at: dt.datetime
    kind: str
    before: str
    after: str
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Approval:
    """That somebody approved a step, or decided one: who and why."""

    at: dt.datetime
    who: str
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class ToolLine:
    """What the last check of a tool found."""

    name: str
    verdict: str
    checked_at: dt.datetime | None = None
    was_dry: bool = True


@dataclass(frozen=True, slots=True)
class NetPart:
    """A part of the safety net, with the days on which it fired; drills apart from the rest."""

    part: str
    words: str
    last_real_at: dt.datetime | None = None
    last_drill_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class IncidentLine:
    """An incident of the guard: when, what, how many calls."""

    opened_at: dt.datetime
    closed_at: dt.datetime | None
    words: str
    state: str
    calls: int


@dataclass(frozen=True, slots=True)
class MoveLine:
    """A move at Twilio. ``direction``: here or back, which is a restore."""

    begun_at: dt.datetime
    finished_at: dt.datetime | None
    direction: Literal["here", "back"]
    step: str
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class ReadinessLine:
    """What the readiness page said, and when it looked."""

    checked_at: dt.datetime
    colour: str
    reason: str
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OldRate:
    """What a minute cost on the old stack; ``source`` says how that is known."""

    usd_per_minute: Decimal
    source: str
    note: str = ""
    is_measured: bool = False


@dataclass(frozen=True, slots=True)
class DossierFacts:
    """All that a dossier is made of. ``calls_left_out``: older calls that were not read.

    ``cost_words``: how the forecast of its price stands, as plans are told.
    """

    number_id: str
    number: str
    name: str
    organisation: str
    route: str
    made_at: dt.datetime
    calls: Sequence[DossierCall] = ()
    calls_left_out: bool = False
    changes: Sequence[Change] = ()
    approvals: Sequence[Approval] = ()
    tools: Sequence[ToolLine] = ()
    net: Sequence[NetPart] = ()
    incidents: Sequence[IncidentLine] = ()
    moves: Sequence[MoveLine] = ()
    readiness: ReadinessLine | None = None
    old_rate: OldRate | None = None
    parity: Parity = "undecided"
    parity_words: str = NO_PARITY
    cost_words: str = ""
    is_dearer: bool = False  # and nobody has accepted it


@dataclass(frozen=True, slots=True)
class Figures:
    """The calls of one stack in one stretch of time. Bounds are exact, two-sided, of 95%."""

    stack: Stack
    calls: int
    bad_calls: int
    bad_low: float
    bad_high: float
    first_word_p95_ms: int | None
    turn_p95_ms: int | None
    minutes: float


@dataclass(frozen=True, slots=True)
class Step:
    """A stretch of time in which the route stayed what it was; ``until`` None: it still does."""

    since: dt.datetime | None
    until: dt.datetime | None
    route: str
    who: str
    why: str
    figures: tuple[Figures, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost before and after, a minute and in all; ``words`` say what is estimated."""

    ours_usd: Decimal
    ours_minutes: float
    ours_per_minute: Decimal | None
    old_minutes: float
    old_per_minute: Decimal | None
    old_usd: Decimal | None
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dossier:
    """The dossier of one number; ``gaps`` name what it cannot say."""

    facts: DossierFacts = field(repr=False)
    steps: tuple[Step, ...]
    cost: Cost
    gaps: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values, times as ISO 8601 with zone, money as text in USD."""
        facts = self.facts
        return {
            "format": FORMAT,
            "madeAt": facts.made_at.isoformat(),
            "number": {
                "id": facts.number_id,
                "number": facts.number,
                "name": facts.name,
                "organisation": facts.organisation,
                "route": facts.route,
            },
            "readiness": _plain(facts.readiness) if facts.readiness else None,
            "parity": {"verdict": facts.parity, "words": facts.parity_words},
            "costGate": {"isOpen": not facts.is_dearer, "words": facts.cost_words},
            "steps": [_plain(step) for step in self.steps],
            "cost": _plain(self.cost),
            "tools": [_plain(each) for each in facts.tools],
            "approvals": [_plain(each) for each in facts.approvals],
            "changes": [_plain(each) for each in facts.changes],
            "moves": [_plain(each) for each in facts.moves],
            "net": [_plain(each) for each in facts.net],
            "incidents": [_plain(each) for each in facts.incidents],
            "gaps": list(self.gaps),
        }


def compose(facts: DossierFacts) -> Dossier:
    """Make the dossier of one number."""
    return Dossier(facts, _steps(facts), _cost(facts), _gaps(facts))


def _steps(facts: DossierFacts) -> tuple[Step, ...]:
    """Deal the calls to the steps in which they began: a route holds for the next call."""
    changes = sorted(facts.changes, key=lambda each: each.at)
    calls = sorted(facts.calls, key=lambda each: each.call.begun_at)
    edges: list[tuple[dt.datetime | None, str, str, str]] = [
        (None, changes[0].before if changes else facts.route, "", "")
    ]
    edges += [(each.at, each.after, each.who, each.why) for each in changes]
    steps = []
    for index, (since, route, who, why) in enumerate(edges):
        until = edges[index + 1][0] if index + 1 < len(edges) else None
        inside = [
            each
            for each in calls
            if (since is None or each.call.begun_at >= since)
            and (until is None or each.call.begun_at < until)
        ]
        figures = tuple(
            _figures(stack, found)
            for stack in STACKS
            if (found := [each for each in inside if each.call.stack == stack])
        )
        steps.append(Step(since, until, route, who, why, figures))
    return tuple(steps)


def _figures(stack: Stack, calls: Sequence[DossierCall]) -> Figures:
    bad = sum(has_hurt(each.call) for each in calls)
    low, high = share_interval(bad, len(calls))
    first = (each.call.first_word_ms for each in calls)
    turns = (each.call.turn_p95_ms for each in calls)
    return Figures(
        stack,
        len(calls),
        bad,
        low,
        high,
        p95(value for value in first if value is not None),
        p95(value for value in turns if value is not None),
        _minutes(calls),
    )


def _cost(facts: DossierFacts) -> Cost:
    ours = [each for each in facts.calls if each.call.stack == "direct"]
    old = [each for each in facts.calls if each.call.stack == "vapi"]
    usd = sum((each.cost_usd for each in ours), Decimal(0))
    minutes, old_minutes = _minutes(ours), _minutes(old)
    rate = facts.old_rate
    words = ["Ours is reckoned per call from the model's tokens and Twilio's list prices."]
    if facts.cost_words:
        words.append(f"{facts.cost_words[:1].upper()}{facts.cost_words[1:]}.")
    if rate is None:
        words.append("What a minute at Vapi cost is not known. Fix: enter it, or leave with a key.")
    elif rate.is_measured:
        words.append(f"Vapi's rate is measured: {rate.source}.")
    else:
        note = f" ({rate.note})" if rate.note else ""
        words.append(f"Vapi's rate is an estimate: {rate.source}{note}.")
    if rate is not None and old:
        words.append("What calls at Vapi cost is an estimate: that rate times their minutes.")
    return Cost(
        usd.quantize(_CENT),
        minutes,
        (usd / Decimal(str(minutes))).quantize(_CENT) if minutes else None,
        old_minutes,
        rate.usd_per_minute if rate else None,
        (rate.usd_per_minute * Decimal(str(old_minutes))).quantize(_CENT) if rate else None,
        tuple(words),
    )


def _gaps(facts: DossierFacts) -> tuple[str, ...]:
    gaps = []
    if facts.parity == "undecided":
        gaps.append(f"Parity is undecided: {facts.parity_words}.")
    if facts.is_dearer:
        gaps.append("A minute is dearer here, and nobody has accepted it: a plan holds the number.")
    if facts.readiness is None:
        gaps.append("Readiness has not been looked at.")
    if facts.calls_left_out:
        gaps.append(f"Only the newest {len(facts.calls)} calls were read; older ones are left out.")
    if any(each.call.stack == "vapi" for each in facts.calls):
        gaps.append(
            "Of calls that Vapi answered only length and end are known, and both only where "
            "Twilio told us; latency and tools are not."
        )
    if not facts.approvals:
        gaps.append("Nobody's approval is recorded.")
    unchecked = [each.name for each in facts.tools if each.checked_at is None]
    if unchecked:
        gaps.append(f"Tools that were never checked: {', '.join(unchecked)}.")
    never = [each.part for each in facts.net if each.last_real_at is None]
    if never:
        gaps.append(f"Parts of the net that have never fired in earnest: {', '.join(never)}.")
    return tuple(gaps)


def _minutes(calls: Iterable[DossierCall]) -> float:
    return round(sum(each.call.duration_seconds for each in calls) / 60, 2)


def _plain(value: Any) -> Any:
    """Return a part as plain values with names as in the rest of the REST surface."""
    return {_camel(name): _value(each) for name, each in asdict(value).items()}


def _value(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return {_camel(name): _value(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_value(each) for each in value]
    return value


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
