"""What Twilio is told when a stream has ended: one pure decision over what is stored.

``<Connect action>`` asks for whatever reason the stream ended (twilio.md 2.3), so a lost socket,
a deploy or a crash resumes the conversation instead of ending the call.
"""

from __future__ import annotations

from typing import Literal

MAX_STREAMS = 3

Step = Literal["hangup", "resume", "dial", "apologise", "message"]
Person = Literal["dial", "message", "nothing"]

_REASONS = {
    "busy": "call.forwarding.operator-busy",
    "no-answer": "call.forwarding.no-answer",
}
_TAKEN = frozenset({"completed", "answered"})
TRANSFER_FAILED = "call.in-progress.error-transfer-failed"
FORWARDED = "assistant-forwarded-call"


def after_dial(
    *, dial_status: str, stream_count: int, operator: bool = False, comes_back: bool = False
) -> tuple[Step, str]:
    """Decide what follows a dialled transfer, with the ended reason if the call is over.

    Args:
        dial_status: Twilio's ``DialCallStatus`` (twilio.md 4.4).
        stream_count: streams handed out so far; a caller whom nobody took comes back to the
            assistant while there may be another one.
        operator: a person was called for the caller's sake (key, refusal, emergency, fallback):
            a caller whom nobody took is told so, and the call ends, unless it ``comes_back``.
        comes_back: the assistant may go on with a caller whom that person did not take.
    """
    if dial_status in _TAKEN:
        return "hangup", FORWARDED
    reason = _REASONS.get(dial_status, TRANSFER_FAILED)
    streams_left = stream_count < MAX_STREAMS
    if operator and not (comes_back and streams_left):
        return "message", reason
    if streams_left:
        return "resume", ""
    return "apologise", reason


def next_step(*, stored: str, ended: bool, stream_count: int, person: Person = "nothing") -> Step:
    """Decide the next step of a call.

    Args:
        stored: the kind in ``Call.next_step``; anything but "hangup", "dial", "operator",
            "message" and "apologise" means that the call was live.
        ended: the call has been finished.
        stream_count: streams handed out so far, those that never connected included.
        person: whom the caller reaches at the number's operator destination right now.
    """
    if ended or stored == "hangup":
        return "hangup"
    if stored == "dial":
        return "dial"
    if stored == "message":
        return "message"
    streams_left = stream_count < MAX_STREAMS
    if stored == "operator":
        if person != "nothing":
            return person
        return "resume" if streams_left else "apologise"
    if stored != "apologise" and streams_left:
        return "resume"
    # The assistant is given up: a person if there is one, the last words if not.
    return "dial" if person == "dial" else "apologise"
