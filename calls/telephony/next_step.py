"""What Twilio is told when a stream has ended: one pure decision over what is stored.

``<Connect action>`` asks for whatever reason the stream ended (twilio.md 2.3), so a lost socket,
a deploy or a crash resumes the conversation instead of ending the call.
"""

from __future__ import annotations

from typing import Literal

MAX_STREAMS = 3

Step = Literal["hangup", "resume", "dial", "apologise"]


_REASONS = {
    "busy": "call.forwarding.operator-busy",
    "no-answer": "call.forwarding.no-answer",
}
TRANSFER_FAILED = "call.in-progress.error-transfer-failed"
FORWARDED = "assistant-forwarded-call"


def after_dial(*, dial_status: str, stream_count: int) -> tuple[Step, str]:
    """Decide what follows a dialled transfer, with the ended reason if the call is over.

    Args:
        dial_status: Twilio's ``DialCallStatus`` (twilio.md 4.4).
        stream_count: streams handed out so far; a caller whom nobody took comes back to the
            assistant while there may be another one.
    """
    if dial_status in {"completed", "answered"}:
        return "hangup", FORWARDED
    if stream_count < MAX_STREAMS:
        return "resume", ""
    return "apologise", _REASONS.get(dial_status, TRANSFER_FAILED)


def next_step(*, stored: str, ended: bool, stream_count: int) -> Step:
    """Decide the next step of a call.

    Args:
        stored: the kind in ``Call.next_step``; anything but "hangup", "dial" and "apologise" means
            that the call was live.
        ended: the call has been finished.
        stream_count: streams handed out so far, those that never connected included.
    """
    if ended or stored == "hangup":
        return "hangup"
    if stored == "dial":
        return "dial"
    if stored == "apologise":
        return "apologise"
    return "apologise" if stream_count >= MAX_STREAMS else "resume"
