"""The four parts of a number's net as people read them: who answers when somebody does not.

Owns the words and the state of each part, made of facts that others found. Pure. It must not say
that a part holds: only a caller or a drill shows that, and their dates stand beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from calls.numbers.switch.net import NET_MS

Letter = Literal["a", "b", "c", "d"]
# ``armed``: somebody is set up to answer. ``bare``: nobody is. ``broken``: what was set up is not
# there any more, or does not answer. ``idle``: nothing of this part can happen now.
State = Literal["armed", "bare", "broken", "idle", "unknown"]

TITLES: Final[dict[Letter, str]] = {
    "a": "Our site is dead while the phone rings",
    "b": "Our site dies during a call",
    "c": "The previous stack is dead",
    "d": "Our site is dead after the previous stack is closed",
}
_ENTER: Final = "Enter an address that dials a person."


@dataclass(frozen=True, slots=True)
class NetFacts:
    """What is known of one number.

    Attributes:
        is_moved: Twilio asks us about its calls.
        fallback: whom Twilio asks in our place, at the last look; None: nobody looked yet.
        is_alarm: the last look found something else than was written.
        address: whether whom Twilio asks in our place answered at the last look.
        dead_ms, hanging_ms: when Twilio asks it (``net.Overrides``).
        has_address: an address of the operator's is entered.
        has_previous: it is known where the calls went before.
        previous_closed: that stack is closed.
        relays: calls may still be answered there by hand-over (route vapi or canary).
        qualified: the number's assistant may answer in the previous stack's place.
        person: whom callers reach who need one, in words; '' for nobody.
    """

    is_moved: bool
    fallback: Literal["previous", "address", "none"] | None = None
    is_alarm: bool = False
    alarm_words: str = ""
    address: Literal["unknown", "answers", "fails"] = "unknown"
    dead_ms: int | None = None
    hanging_ms: int | None = None
    has_address: bool = False
    has_previous: bool = False
    previous_closed: bool = False
    relays: bool = False
    qualified: bool = False
    person: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """One part; ``dead_seconds`` and ``hanging_seconds``: until the net is asked, if known."""

    letter: Letter
    state: State
    words: str
    dead_seconds: float | None = None
    hanging_seconds: float | None = None

    @property
    def title(self) -> str:
        """Return what has to happen for it to be needed."""
        return TITLES[self.letter]


def parts_of(facts: NetFacts) -> tuple[Part, Part, Part, Part]:
    """Return the parts in their order, a to d."""
    return _ringing(facts), _in_call(facts), _previous(facts), _closed(facts)


def _ringing(facts: NetFacts) -> Part:
    if facts.previous_closed:
        return Part("a", "idle", "The previous stack is closed: see the last part.")
    return _unanswered("a", facts)


def _closed(facts: NetFacts) -> Part:
    if not facts.previous_closed:
        if facts.has_address:
            words = "Not closed yet. Your address takes the calls then too."
            return Part("d", "broken" if facts.address == "fails" else "armed", words)
        words = "Not closed yet. Once it is, it answers no more calls in our place. " + _ENTER
        return Part("d", "bare", words)
    return _unanswered("d", facts)


def _unanswered(letter: Letter, facts: NetFacts) -> Part:
    if not facts.is_moved:
        return Part(letter, "idle", "Twilio does not ask us about this number's calls.")
    seconds = (_seconds(facts.dead_ms), _seconds(facts.hanging_ms))
    if facts.is_alarm:
        return Part(letter, "broken", f"At Twilio: {facts.alarm_words}.", *seconds)
    if facts.fallback is None:
        return Part(letter, "unknown", "Nobody has looked at Twilio yet. Look now.", *seconds)
    if facts.fallback == "none":
        words = "Callers hear an error and the call ends: no fallback is set up. " + _ENTER
        return Part(letter, "bare", words)
    if facts.fallback == "previous" and facts.previous_closed:
        words = "Twilio would ask the previous stack, which is closed. " + _ENTER
        return Part(letter, "broken", words, *seconds)
    if facts.address == "fails":
        words = "Twilio would ask an address that did not answer at the last look."
        return Part(letter, "broken", words, *seconds)
    who = "what answered before the move" if facts.fallback == "previous" else "your address"
    words = f"Twilio asks {who}"
    if facts.dead_ms is not None and facts.hanging_ms is not None:
        words += f" after {facts.dead_ms / 1000:g} s, or {facts.hanging_ms / 1000:g} s if we hang"
        if facts.hanging_ms > NET_MS:
            # Twilio must not give up on a hand-over that is about to be answered.
            words += ", because a server is asked who answers, which is given longer"
    return Part(letter, "armed", f"{words}.", *seconds)


def _in_call(facts: NetFacts) -> Part:
    """What Twilio does (twilio.md 2.3, 5.5): it asks what comes next, then the fallback.

    A previous stack of Vapi's refuses a call that has been answered.
    """
    if not facts.is_moved:
        return Part("b", "idle", "No call of this number is carried here.")
    person = f" Callers who need a person reach {facts.person}." if facts.person else ""
    one = "One process lost: Twilio asks us what comes next, and the conversation goes on." + person
    if facts.is_alarm:
        return Part("b", "broken", f"{one} The whole site lost: {facts.alarm_words}.")
    if facts.fallback == "address":
        state: State = "broken" if facts.address == "fails" else "armed"
        whole = "The whole site lost: Twilio asks your address, which dials a person."
    else:
        state = "bare"
        whole = "The whole site lost: the call ends with an error, for the previous stack takes "
        whole += "no call that was answered. " + _ENTER
    return Part("b", state, f"{one} {whole}")


def _previous(facts: NetFacts) -> Part:
    if not facts.is_moved or not facts.relays:
        return Part("c", "idle", "No call of this number is handed over to the previous stack.")
    if not facts.has_previous or facts.previous_closed:
        return Part("c", "broken", "Its route still hands calls over, and there is nobody to.")
    if facts.qualified:
        return Part("c", "armed", "The assistant answers at once: it is marked as qualified.")
    words = "Callers reach "
    words += facts.person if facts.person else "nobody"
    words += ". Mark the assistant as qualified and it answers them."
    return Part("c", "armed" if facts.person else "bare", words)


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000
