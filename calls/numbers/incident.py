"""What follows when the guard of a number trips: one incident, the way back, who is told what.

Pure. Owns the state of a number's guard and the machine of the restore: state and facts in, state,
actions and record out. It must not read a clock, write at Twilio or send anything. The shell stores
the state in the transaction that enqueues the actions, and carries them out afterwards.

Two things bring callers home. ``SendHome`` sets our own route to ``vapi``: a row, effective for
the next call, whatever Twilio's API does, because a call that still comes to us is handed over by
proxy. ``TryRestore`` writes the snapshot back at Twilio; a try that fails is repeated after 1, 2,
4, 8, 15 and 30 s, then every minute, until it is done or a person is needed. With tries of at most
8 s, three that hang and a fourth that succeeds take 39 s; looked at every 5 s, 54 s.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Final, Literal

from calls.numbers.entries import Entry
from calls.numbers.guard import Signal, Stack, Verdict

GUARD: Final = "guard"
# How long a try may take; the shell's requests to Twilio together have this deadline. A try that
# has not reported by then was lost with its process.
TRY_SECONDS: Final = 8
WAITS_SECONDS: Final = (1, 2, 4, 8, 15, 30, 60)
# Twilio's 429 may ask for patience (twilio.md 8.1); the first minute is not given to it.
MOST_RETRY_AFTER_SECONDS: Final = 15
LATE_SECONDS: Final = 60
MOST_CALLS_LISTED: Final = 50

Phase = Literal["due", "restored", "person", "nothing"]
Result = Literal["restored", "failed", "changed", "refused", "person"]
Notice = Literal["opened", "restored", "late", "person"]


class IncidentError(ValueError):
    """What was asked does not fit the state; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Restore:
    """How far the way back is. ``due``: tried again at ``next_at``; ``nothing``: there is none.

    ``person``: the number was changed by somebody else, or Twilio refuses; it is not tried again
    by itself (twilio.md 5.5, step 5).
    """

    phase: Phase
    tries: int = 0
    is_trying: bool = False
    next_at: dt.datetime | None = None
    done_at: dt.datetime | None = None
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Incident:
    """One trip of a guard. ``key`` is the same however often it is opened: a unique column."""

    key: str
    opened_at: dt.datetime
    signals: tuple[Signal, ...]
    words: str
    call_ids: tuple[str, ...]
    restore: Restore
    told: frozenset[Notice] = frozenset()


@dataclass(frozen=True, slots=True)
class GuardState:
    """The guard of one number and stack. Armed while there is no incident."""

    number_id: str
    stack: Stack
    armed_at: dt.datetime
    incident: Incident | None = None


@dataclass(frozen=True, slots=True)
class SendHome:
    """Set our route of the number to ``vapi``, where calls still reach us; once and at once."""

    key: str
    number_id: str


@dataclass(frozen=True, slots=True)
class TryRestore:
    """Restore the number at Twilio within ``TRY_SECONDS``, then report by ``tried``."""

    key: str
    number_id: str
    number_of_try: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the people on duty, once for each ``key`` and ``notice``: ids and figures only."""

    key: str
    number_id: str
    notice: Notice
    words: str
    call_ids: tuple[str, ...]


Action = SendHome | TryRestore | Tell


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state to store, what to do, and the record."""

    state: GuardState
    actions: tuple[Action, ...] = ()
    entries: tuple[Entry, ...] = ()


def look(
    state: GuardState,
    verdict: Verdict,
    now: dt.datetime,
    *,
    has_way_back: bool = True,
    has_route_home: bool | None = None,
) -> Outcome:
    """Look at the number's calls; open the incident, or add calls to the one that is open.

    Args:
        verdict: of the calls since ``state.armed_at``.
        has_way_back: a snapshot of the previous configuration exists. Without one Twilio is not
            asked.
        has_route_home: it is known where the number's calls went before, so that they can be
            handed over there; as ``has_way_back`` unless told. Without both, and for the ``vapi``
            stack, the people are told and nothing is moved.
    """
    incident = state.incident
    if incident is None:
        if not verdict.alarms:
            return Outcome(state)
        home = has_way_back if has_route_home is None else has_route_home
        return _opened(state, verdict, now, has_way_back, home)
    calls = _listed((*incident.call_ids, *verdict.call_ids))
    if calls == incident.call_ids:
        return Outcome(state)
    return Outcome(replace(state, incident=replace(incident, call_ids=calls)))


def tick(state: GuardState, now: dt.datetime) -> Outcome:
    """Return what is due: a try of the restore, the notice that it takes too long."""
    incident = state.incident
    if incident is None or incident.restore.phase != "due":
        return Outcome(state)
    actions: list[Action] = []
    entries: tuple[Entry, ...] = ()
    restore = incident.restore
    if restore.next_at is None or now >= restore.next_at:
        restore = replace(
            restore,
            tries=restore.tries + 1,
            is_trying=True,
            next_at=now + dt.timedelta(seconds=TRY_SECONDS),
        )
        incident = replace(incident, restore=restore)
        actions.append(TryRestore(incident.key, state.number_id, restore.tries))
        entries = (_entry(state, incident, now, "restore tried", f"try {restore.tries}"),)
    if now >= incident.opened_at + dt.timedelta(seconds=LATE_SECONDS):
        why = restore.last_error or "Twilio has not answered"
        text = f"not restored at Twilio for {LATE_SECONDS} s and still being tried: {why}"
        incident, told = _tell(state, incident, "late", text)
        actions += told
    return Outcome(replace(state, incident=incident), tuple(actions), entries)


def next_at(state: GuardState) -> dt.datetime | None:
    """Return when ``tick`` has something to do, None while nothing is being restored."""
    if state.incident is None or state.incident.restore.phase != "due":
        return None
    due = state.incident.restore.next_at or state.incident.opened_at
    if "late" not in state.incident.told:
        due = min(due, state.incident.opened_at + dt.timedelta(seconds=LATE_SECONDS))
    return due


def tried(
    state: GuardState,
    number_of_try: int,
    result: Result,
    now: dt.datetime,
    *,
    error: str = "",
    retry_after_seconds: float | None = None,
) -> Outcome:
    """Take in how a try ended.

    A report of an older try that failed is passed over, and so is a second one of the same: it
    would only put off the next. One that succeeded counts whenever it comes.

    Args:
        result: ``failed`` is tried again; ``changed``: the live fields are not those that we
            wrote; ``refused``: Twilio says no and will say it again (20003, 20404); ``person``:
            what ``error`` says needs one.
        error: a sentence without secrets or numbers.
        retry_after_seconds: what Twilio asked for.
    """
    incident = state.incident
    if incident is None or incident.restore.phase in ("restored", "nothing"):
        return Outcome(state)
    restore = incident.restore
    is_news = restore.phase == "due" and restore.is_trying and number_of_try == restore.tries
    if result != "restored" and not is_news:
        return Outcome(state)
    restore = replace(restore, is_trying=False)
    if result == "restored":
        restore = replace(restore, phase="restored", next_at=None, done_at=now, last_error="")
        took = (now - incident.opened_at).total_seconds()
        text = f"restored at Twilio after {took:.0f} s, at try {number_of_try}"
        notice: Notice | None = "restored"
    elif result == "failed":
        wait = float(WAITS_SECONDS[min(restore.tries, len(WAITS_SECONDS)) - 1])
        asked = min(retry_after_seconds or 0.0, MOST_RETRY_AFTER_SECONDS)
        again = now + dt.timedelta(seconds=max(wait, asked))
        restore = replace(restore, next_at=again, last_error=error)
        text, notice = f"try {number_of_try} failed: {error}", None
    else:
        restore = replace(restore, phase="person", next_at=None, last_error=error)
        causes = {
            "changed": "somebody else has changed the number at Twilio since we wrote it. Fix: "
            "compare both states on the number's page and choose one",
            "refused": "Twilio refuses the request. Fix: check the account's credentials and that "
            "the number still belongs to it, then restore by hand",
        }
        cause = f"{causes[result]} ({error})" if result in causes else error
        text, notice = f"not restored at Twilio: {cause}", "person"
    incident = replace(incident, restore=restore)
    entry = _entry(state, incident, now, f"restore {result}", text)
    told: list[Action] = []
    if notice is not None:
        incident, told = _tell(state, incident, notice, text)
    return Outcome(replace(state, incident=incident), tuple(told), (entry,))


def restore_again(state: GuardState, *, who: str, why: str, now: dt.datetime) -> Outcome:
    """Let a person order the restore again after it needed one.

    Raises:
        IncidentError: none is open, or it does not wait for a person.
    """
    incident = state.incident
    if incident is None or incident.restore.phase != "person":
        raise IncidentError("no restore waits for a person. Fix: look at the number's state again.")
    restore = replace(incident.restore, phase="due", next_at=now)
    incident = replace(incident, restore=restore, told=incident.told - {"person"})
    entry = replace(_entry(state, incident, now, "restore ordered", why), who=who)
    return Outcome(replace(state, incident=incident), (), (entry,))


def close(state: GuardState, *, who: str, why: str, now: dt.datetime) -> Outcome:
    """Close the incident and arm the guard anew; calls that began before count no longer.

    Raises:
        IncidentError: none is open, a restore is under way, or no reason is given.
    """
    incident = state.incident
    if incident is None:
        raise IncidentError("there is no open incident. Fix: nothing is to be done.")
    if incident.restore.phase == "due":
        raise IncidentError("the number is being restored. Fix: wait until that has ended.")
    if not why.strip():
        raise IncidentError("why is empty. Fix: say what was wrong and what has been done.")
    entry = replace(_entry(state, incident, now, "incident closed", why), who=who)
    return Outcome(replace(state, armed_at=now, incident=None), (), (entry,))


def _opened(
    state: GuardState,
    verdict: Verdict,
    now: dt.datetime,
    has_way_back: bool,
    has_route_home: bool,
) -> Outcome:
    is_ours = state.stack == "direct"
    moves = has_way_back and is_ours
    goes_home = is_ours and (has_way_back or has_route_home)
    incident = Incident(
        # By the arming: two processes that see the same breach name the same incident.
        key=f"{state.number_id}:{state.stack}:{state.armed_at.astimezone(dt.UTC).isoformat()}",
        opened_at=now,
        signals=tuple(alarm.signal for alarm in verdict.alarms),
        words="; ".join(alarm.words for alarm in verdict.alarms),
        call_ids=_listed(verdict.call_ids),
        restore=Restore("due", next_at=now) if moves else Restore("nothing"),
    )
    evidence = {
        "signals": {alarm.signal: round(alarm.score, 2) for alarm in verdict.alarms},
        "alarm_at": {alarm.signal: round(alarm.alarm_at, 2) for alarm in verdict.alarms},
        "calls": verdict.calls,
    }
    entry = _entry(state, incident, now, "incident opened", incident.words)
    entry = replace(entry, evidence={**entry.evidence, **evidence})
    follows = "the number goes back"
    if not is_ours:
        follows = "nothing is moved: these calls were answered by Vapi"
    elif not goes_home:
        follows = "nothing is moved: there is no way back"
    elif not moves:
        follows = "calls are handed to the old stack; at Twilio there is nothing to restore"
    home: list[Action] = [SendHome(incident.key, state.number_id)] if goes_home else []
    incident, told = _tell(state, incident, "opened", f"{incident.words}; {follows}")
    first = tick(replace(state, incident=incident), now)
    return Outcome(first.state, (*home, *first.actions, *told), (entry, *first.entries))


def _tell(
    state: GuardState, incident: Incident, notice: Notice, words: str
) -> tuple[Incident, list[Action]]:
    if notice in incident.told:
        return incident, []
    told = replace(incident, told=incident.told | {notice})
    return told, [Tell(incident.key, state.number_id, notice, words, incident.call_ids)]


def _listed(call_ids: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(call_ids))[:MOST_CALLS_LISTED]


def _entry(state: GuardState, incident: Incident, now: dt.datetime, action: str, why: str) -> Entry:
    evidence = {"incident": incident.key, "call_ids": list(incident.call_ids)}
    return Entry(now, GUARD, action, state.number_id, why, evidence)
