"""When a caller is handed to a person for their own sake: keys and words, as one frozen value.

Part of a call's plan. Empty keys and lists mean that nothing of the kind happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

OnRefusal = Literal["unrecorded", "human", "end"]
OnEmergency = Literal["transfer", "notice", "nothing"]


@dataclass(frozen=True, slots=True)
class PersonPlan:
    """``reachable``: there is a person to hand the caller to when the model is given up.

    ``refusal_key`` counts at the beginning of a call only; words of refusal at any time.
    """

    reachable: bool = False
    operator_key: str = ""
    refusal_key: str = ""
    refusal_words: tuple[str, ...] = ()
    on_refusal: OnRefusal = "unrecorded"
    emergency_words: tuple[str, ...] = ()
    on_emergency: OnEmergency = "nothing"
    emergency_notice: str = ""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PersonPlan:
        """Return the value that ``dataclasses.asdict`` was made of, through JSON."""
        fields: dict[str, Any] = {
            name: tuple(each) if isinstance(each, list) else each for name, each in value.items()
        }
        return cls(**fields)
