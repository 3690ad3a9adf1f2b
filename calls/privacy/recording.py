"""Whether the sound of a call may be recorded, by what its caller was told and what they answered.

Pure, and the one predicate: whoever starts a recording, keeps one or gives one out asks here. What
an assistant wants and what an organisation allows is not consent; both are the service's to ask.
"""

from __future__ import annotations

from typing import Final, Literal

# ``open``: nothing heard or asked yet; ``heard``: the line was played to its end.
ConsentState = Literal["open", "heard", "agreed", "refused"]
_ENOUGH: Final[dict[str, frozenset[str]]] = {
    "none": frozenset({"open", "heard", "agreed"}),
    "notice": frozenset({"heard", "agreed"}),
    "ask": frozenset({"agreed"}),
}


def may_record(consent: str, state: ConsentState) -> bool:
    """Tell whether a policy with this kind of consent allows a recording now (design.md 11).

    A refusal ends it for good; a kind that nobody knows allows nothing.
    """
    return state in _ENOUGH.get(consent, frozenset())
