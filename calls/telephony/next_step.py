"""What Twilio is told when a stream has ended: one pure decision over what is stored.

``<Connect action>`` asks for whatever reason the stream ended (twilio.md 2.3), so a lost socket,
a deploy or a crash resumes the conversation instead of ending the call.
"""

from __future__ import annotations

from typing import Literal

MAX_STREAMS = 3

Step = Literal["hangup", "resume", "apologise"]


def next_step(*, stored: str, ended: bool, stream_count: int) -> Step:
    """Decide the next step of a call.

    Args:
        stored: the kind in ``Call.next_step``; anything but "hangup" means the call was live.
        ended: the call has been finished.
        stream_count: streams handed out so far, those that never connected included.
    """
    if ended or stored == "hangup":
        return "hangup"
    return "apologise" if stream_count >= MAX_STREAMS else "resume"
