"""Who answers a call: one pure decision, with the reason that is stored on the call.

The first row that holds decides; a code names it. "The old stack" is there when it is known where
the number's calls went before and the call still rings: one that has been answered is refused there
(twilio.md 5.5). "Able": we could answer, because nothing of rows 5 to 13 is amiss.

|# | holds                                               | answer                 | code           |
|--|-----------------------------------------------------|------------------------|----------------|
|1 | we do not know the number                           | decline                | unknown-number |
|2 | its route is paused, whatever its schedule says     | decline                | paused         |
|3 | outside its schedule's windows                      | as its route outside   |                |
|4 | route vapi: the old stack is up                     | previous               | route-vapi     |
|  | - a probe of one that is down                       | previous               | old-probe      |
|  | - down; the assistant is qualified and able         | direct, ask            | old-down       |
|  | - down; nobody else                                 | previous               | old-down       |
|  | - known, but answered already; qualified and able   | direct, ask            | not-ringing    |
|  | - a trunk, which is not asked call by call; able    | direct, ask            | on-the-way     |
|  | - no key opens where it is; qualified and able      | direct, ask            | old-missing    |
|  | - not there                                         | a person               | old-missing    |
|5 | the number is blocked                               | previous, else person  | blocked        |
|6 | its policy is not reviewed: it never leaves Vapi    | previous, else person  | policy         |
|7 | canary, the caller is outside the share             | as row 4; qualified    | canary-out, …  |
|8 | no assistant, and no server that names one          | previous, else person  | no-assistant   |
|9 | no connection to a model                            | previous, else person  | no-connection  |
|10| the connection is against what was agreed           | previous, else person  | contract       |
|11| no key opens what our answer needs                  | previous, else person  | unreadable     |
|12| the model is out of reach: old stack not down       | previous               | model-lost     |
|  | - a person can be reached                           | fallback               | model-lost     |
|13| all our lines are taken                             | previous, else busy    | overflow, full |
|14| no assistant: its server is asked who answers       | ask                    | its route's    |
|15| anything else                                       | direct                 | its route's    |

"Person" is ``fallback`` where somebody can be reached at the number's desk, ``decline`` where not.
A number of a trunk sends its calls here only while it is on its way: Twilio still asks us for some
seconds after the route was set back, and has no other stack for them.

A call that a parity run of ours placed names its stack (``placed_for``) and is given to that one
or to nobody (``busy``, code ``test-refused``): never to the other stack, never to a person, and
only while half of our lines are free. Whether a number may leave the old stack, and what it lacks,
holds for it too; its route, its share and its windows are for callers. A paused number takes none.

A ``previous`` says how long the old stack is waited for and what follows (``instead``), so that the
callers who ring while it dies are answered too.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Final, Literal, assert_never

from calls.numbers.canary import Sticky, draw, is_in
from calls.numbers.old_stack import PATIENCE_MS, Standing, attempt_ms
from calls.numbers.schedule import Schedule, is_inside

# ``previous``: the old stack. ``ask``: a server is asked who answers. ``fallback``: a person, else
# the last words.
Answer = Literal["direct", "previous", "busy", "decline", "fallback", "ask"]
Instead = Literal["direct", "ask", "fallback", "nobody"]
Code = Literal[
    "unknown-number",
    "paused",
    "route-vapi",
    "old-probe",
    "old-down",
    "old-missing",
    "not-ringing",
    "on-the-way",
    "blocked",
    "policy",
    "canary-out",
    "no-assistant",
    "no-connection",
    "contract",
    "unreadable",
    "model-lost",
    "overflow",
    "full",
    "canary-in",
    "canary-alone",
    "route-direct",
    "test-old",
    "test-ours",
    "test-refused",
]
Old = Literal["none"] | Standing

# The column takes 200, and a shell may add a word.
REASON_CHARACTERS: Final = 180


@dataclass(frozen=True, slots=True)
class NumberFacts:
    """What the decision needs to know of a number; ``None`` instead means: we do not know it.

    Attributes:
        asks: it has no assistant, and a server says who answers.
        blocked: why its calls may not come here at all, '' when they may.
        old_stack: how the stack before us stands for this call (``old_stack.standing``); ``none``:
            it is not known where the calls went, or they went to a trunk.
        old_unreadable: no key opens where the calls went, and nothing else tells.
        old_trunk: they went to a SIP trunk, so none can be handed back.
        old_fixed: the old stack's number has an assistant of its own and asks no server first.
        qualified: its assistant may answer in the old stack's place.
        unreadable: what of our own side no key opens, '' when all of it can be read.
        has_person: somebody can be reached at the number's desk right now.
    """

    route: str
    has_revision: bool
    has_connection: bool
    policy_reviewed: bool
    model_lost: bool = False
    contract_problem: str = ""
    asks: bool = False
    blocked: str = ""
    canary_percent: int = 0
    canary_salt: str = ""
    sticky: Sticky = "caller"
    schedule: Schedule | None = None
    old_stack: Old = "none"
    old_trunk: bool = False
    old_unreadable: bool = False
    old_fixed: bool = False
    patience_ms: int = PATIENCE_MS
    qualified: bool = False
    unreadable: str = ""
    has_person: bool = True


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What the decision needs to know of a call. ``now`` is aware.

    ``placed_for``: a run of ours placed it for this stack; '' for callers.
    """

    caller: str
    call_sid: str
    is_ringing: bool
    now: dt.datetime
    placed_for: Literal["", "direct", "vapi"] = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer and, in a sentence for the person on duty, why.

    ``attempt_ms`` and ``instead`` are for ``previous`` alone: how long it may take, connecting
    included, and what follows when it gave nothing.
    """

    answer: Answer
    reason: str
    code: Code
    attempt_ms: int = 0
    instead: Instead = "fallback"

    @property
    def stack(self) -> Literal["direct", "vapi"]:
        """Return the stack of the call's row (design.md 6)."""
        return "vapi" if self.answer == "previous" else "direct"


def decide(
    facts: NumberFacts | None, *, live_calls: int, max_calls: int, call: CallFacts | None = None
) -> Decision:
    """Decide who answers. ``live_calls`` counts this process against its own ceiling.

    Without ``call`` the old stack is not there, and no schedule is read.
    """
    if facts is None:
        return _decision("decline", "unknown-number", "unknown number")
    most = max_calls
    if call is not None and call.placed_for:
        most = max(max_calls // 2, 1)  # callers need the lines more than a run does
    ceiling = f"{live_calls} calls are live, the ceiling is {most}"
    return _Number(facts, call, "" if live_calls < most else ceiling).decision()


def _decision(answer: Answer, code: Code, reason: str) -> Decision:
    return Decision(answer, reason[:REASON_CHARACTERS], code)


@dataclass(frozen=True, slots=True)
class _Number:
    """A number for one call; ``full`` says why no line is free, '' when one is."""

    facts: NumberFacts
    call: CallFacts | None
    full: str

    def decision(self) -> Decision:
        if self.call is not None and self.call.placed_for:
            return self._placed(self.call.placed_for)
        route, said = self._route_now()
        if route == "paused":
            return _decision("decline", "paused", f"{said}the number is paused")
        if route not in {"canary", "direct"}:
            reason = f"{said}route vapi"
            return self._old_first("route-vapi", reason, qualified=self.facts.qualified)
        barred = self._barred()
        if barred is not None:
            return self._handed(*barred) or self._person(*barred)
        if route == "direct":
            return self._own("route-direct", f"{said}route direct")
        if self._old() == "none":
            # A caller is never turned away for want of a second stack.
            reason = f"{said}route canary, without a hand-over to Vapi: every call is ours"
            return self._own("canary-alone", reason)
        share = f"{said}route canary {self.facts.canary_percent}% by {self.facts.sticky}"
        if self._is_drawn():
            return self._own("canary-in", f"{share}: in the share")
        return self._old_first("canary-out", f"{share}: not in the share", qualified=True)

    def _placed(self, stack: Literal["direct", "vapi"]) -> Decision:
        """Decide for a call that a run placed for ``stack``."""
        said = f"a parity run's call to the {'old' if stack == 'vapi' else 'new'} stack"
        if self.facts.route == "paused":
            return _decision("busy", "test-refused", f"{said}: the number is paused")
        if stack == "vapi":
            if self._old() in {"up", "probe"}:
                given = self._previous("test-old", said, "the run asks for no other stack")
                return replace(given, instead="nobody")
            return _decision("busy", "test-refused", f"{said}: it is {self._old()}")
        if why_not := self._why_not_able():
            return _decision("busy", "test-refused", f"{said}: {why_not}")
        if not self.facts.has_revision:
            return _decision("busy", "test-refused", f"{said}: no assistant of its own answers")
        return self._ours("test-ours", said)

    def _route_now(self) -> tuple[str, str]:
        """Return the route that holds now, and the words of the schedule that made it so."""
        facts = self.facts
        if facts.route == "paused" or facts.schedule is None or self.call is None:
            return facts.route, ""
        inside, why = is_inside(facts.schedule, self.call.now)
        return (facts.route if inside else facts.schedule.outside), f"schedule ({why}): "

    def _old(self) -> Old:
        return self.facts.old_stack if self.call is not None and self.call.is_ringing else "none"

    def _is_drawn(self) -> bool:
        call, facts = self.call, self.facts
        return call is None or is_in(
            facts.canary_percent,
            draw(
                salt=facts.canary_salt,
                caller=call.caller,
                call_sid=call.call_sid,
                now=call.now,
                sticky=facts.sticky,
            ),
        )

    def _barred(self) -> tuple[Code, str] | None:
        """Return why the number may not leave the old stack."""
        if self.facts.blocked:
            return "blocked", self.facts.blocked
        if not self.facts.policy_reviewed:
            return "policy", "the number's call policy has not been reviewed"
        return None

    def _unfit(self) -> tuple[Code, str] | None:
        """Return what the number lacks for us to answer."""
        facts = self.facts
        if facts.unreadable:
            return "unreadable", facts.unreadable
        if not (facts.has_revision or facts.asks):
            return "no-assistant", "the number has no assistant with a published revision"
        if not facts.has_connection:
            return "no-connection", "no provider connection: none on the number and no default"
        if facts.contract_problem:
            return "contract", facts.contract_problem
        return None

    def _why_not_able(self) -> str:
        known = self._barred() or self._unfit()
        if known is not None:
            return known[1]
        return "the model is out of reach" if self.facts.model_lost else self.full

    def _own(self, code: Code, reason: str) -> Decision:
        """Decide for a caller who is ours; those whom we cannot answer go to somebody else."""
        unfit = self._unfit()
        if unfit is not None:
            return self._handed(*unfit) or self._person(*unfit)
        if self.facts.model_lost:
            lost = "the model could not be reached by the last calls"
            if self._old() in {"up", "probe"}:
                return self._previous("model-lost", lost, lost)
            if self.facts.has_person:
                return _decision("fallback", "model-lost", lost)
            code, reason = "model-lost", f"{lost}; there is nobody else, so it is asked"
        if self.full:
            return self._handed("overflow", self.full) or _decision("busy", "full", self.full)
        return self._ours(code, reason)

    def _ours(self, code: Code, reason: str) -> Decision:
        if self.facts.has_revision:
            return _decision("direct", code, reason)
        return _decision("ask", code, f"{reason}: its server is asked who answers")

    def _old_first(self, code: Code, reason: str, *, qualified: bool) -> Decision:
        """Decide for a caller of the old stack, for whom a ``qualified`` assistant may stand in."""
        why_not = self._why_not_able()
        if not why_not and not qualified:
            why_not = "its assistant is not qualified to stand in"
        match self._old():
            case "up":
                return self._previous(code, reason, why_not)
            case "probe":
                reason = f"{reason}; a probe whether the old stack is back"
                return self._previous("old-probe", reason, why_not)
            case "down" if why_not:
                reason = f"{reason}; the old stack is down and asked all the same: {why_not}"
                return self._previous("old-down", reason, why_not)
            case "down":
                return self._ours("old-down", f"{reason}, and the old stack is down")
            case "none":
                return self._without_old(reason, why_not)
            case never:
                assert_never(never)

    def _without_old(self, reason: str, why_not: str) -> Decision:
        facts = self.facts
        if facts.old_trunk and not self._why_not_able():
            return self._ours("on-the-way", f"{reason}, but Twilio still sends its calls here")
        if facts.old_stack == "none" or self.call is None:
            reason = f"{reason}, Twilio sent the call here, and it cannot be handed over"
            if facts.old_unreadable and not why_not:
                return self._ours("old-missing", f"{reason}: no key opens where it went")
            return self._person("old-missing", reason)
        reason = f"{reason}, and the old stack takes ringing calls only"
        if why_not:
            return self._person("old-missing", f"{reason}; {why_not}")
        return self._ours("not-ringing", reason)

    def _person(self, code: Code, reason: str) -> Decision:
        """Decide for a caller whom neither stack can take."""
        return _decision("fallback" if self.facts.has_person else "decline", code, reason)

    def _handed(self, code: Code, reason: str) -> Decision | None:
        """Return the hand-over of a call that we cannot answer, None if that is not possible."""
        return None if self._old() == "none" else self._previous(code, reason, reason)

    def _previous(self, code: Code, reason: str, why_not: str) -> Decision:
        """Return a hand-over; we answer after it unless there is a reason ``why_not``."""
        facts = self.facts
        own: Instead = "direct" if facts.has_revision else "ask"
        # Two stacks that ask a server, one after the other, are more than Twilio waits: 9 s and
        # 7.5 s of its 15 s (vapi.md 5.3, twilio.md 1.3).
        has_net = not why_not and (own == "direct" or facts.old_fixed)
        return Decision(
            "previous",
            reason[:REASON_CHARACTERS],
            code,
            attempt_ms=attempt_ms(
                has_net=has_net,
                fixed_assistant=facts.old_fixed,
                patience_ms=facts.patience_ms,
            ),
            instead=own if has_net else "fallback",
        )
