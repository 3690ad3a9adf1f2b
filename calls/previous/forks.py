"""One element more in the previous stack's TwiML: a ``<Start>`` that lets us hear a call along.

Owns which documents may be given it and where it stands: before the first verb, and not a byte else
is touched. Whatever is doubtful is left as it is, since the caller's call comes first. Whether a
call may be heard along at all is ``calls.parity.shadow_rules``'. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from calls.previous.answers import MOST_TWIML_BYTES, Answer, decoded, kind_of

# Verbs that answer the call by themselves, so that the fork before them changes nothing of when it
# is answered (twilio.md 1.2, 2.1). ``<Reject>`` must stay the first verb to decline a call that is
# not answered, and what a ``<Redirect>`` leads to may come to us again.
FIRST_VERBS: Final = frozenset({"Connect", "Gather", "Play", "Say"})
# A call has four forked tracks for all that listens (twilio.md 2.1), of which ours takes two; what
# is stopped could be ours; where somebody pays nobody hears along, nor where a person is rung or
# takes calls from a queue.
NEVER_BESIDE: Final = frozenset(
    {"Dial", "Enqueue", "Refer", "Start", "Stop", "Pay", "Reject", "Siprec", "Transcription"}
)


@dataclass(frozen=True, slots=True)
class NotForked:
    """The document stays as it is; ``reason`` is for our log and the run's page."""

    reason: str


@dataclass(slots=True)
class _Seen:
    """What a document holds: names, and where in its UTF-8 the first verb begins."""

    root: str = ""
    depth: int = 0
    first: str = ""
    first_at: int = -1
    names: set[str] = field(default_factory=set)


def forked(answer: Answer, start: str) -> Answer | NotForked:
    """Return an answer with ``start``, one element in ASCII, before its first verb; or why not.

    Everything else stays byte for byte, in the encoding that it came in.
    """
    if kind_of(answer.content_type) != "xml":
        return NotForked("it is no TwiML")
    read = decoded(answer.body, answer.content_type)
    if read is None:
        return NotForked("its encoding is not known")
    text, encoding = read
    if encoding == "utf-16":
        return NotForked("its encoding cannot be cut")
    utf8 = text.encode("utf-8", "surrogatepass")
    seen = _seen(utf8)
    reason = "it is not well-formed" if seen is None else _why_not(seen)
    if seen is None or reason:
        return NotForked(reason)
    before = utf8[: seen.first_at].decode("utf-8", "surrogatepass").encode(encoding)
    # Not for sure of an encoding that writes a mark before each piece, or letters in two ways.
    if not answer.body.startswith(before):
        return NotForked("its encoding cannot be cut")
    body = before + start.encode(encoding) + answer.body[len(before) :]
    if len(body) > MOST_TWIML_BYTES:
        return NotForked("it would be too long for Twilio")
    return Answer(answer.content_type, body, answer.absolute_made)


def _seen(utf8: bytes) -> _Seen | None:
    seen = _Seen()
    parser = expat.ParserCreate("utf-8")

    def begin(name: str, attributes: dict[str, str]) -> None:
        if not seen.depth:
            seen.root = name
        elif seen.depth == 1 and seen.first_at < 0:
            seen.first, seen.first_at = name, parser.CurrentByteIndex
        seen.names.add(name)
        seen.depth += 1

    def end(name: str) -> None:
        seen.depth -= 1

    parser.StartElementHandler, parser.EndElementHandler = begin, end
    try:
        parser.Parse(utf8, True)
    except expat.ExpatError:
        return None
    return seen


def _why_not(seen: _Seen) -> str:
    if seen.root != "Response" or not seen.first:
        return "it has no verb"
    if any(":" in name for name in seen.names):
        return "its elements have prefixes"
    if seen.first not in FIRST_VERBS:
        return f"its first verb is <{seen.first[:20]}>"
    if found := sorted(seen.names & NEVER_BESIDE):
        return f"it has a <{found[0]}>"
    return ""
