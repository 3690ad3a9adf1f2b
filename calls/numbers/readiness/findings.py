"""A finding on a number: what it says, how heavy it is, and where its step is done.

Owns the words' form and the order of weight. Pure; what is found is the rules'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal

# ``blocks``: it cannot be moved. ``look``: a person should look first. ``unknown``: it cannot be
# said yet. ``note``: to be known, and no reason against a move.
Weight = Literal["blocks", "look", "unknown", "note"]
Colour = Literal["red", "amber", "grey", "green"]
COLOURS: Final[dict[Weight, Colour]] = {
    "blocks": "red",
    "look": "amber",
    "unknown": "grey",
    "note": "green",
}
WEIGHTS: Final = tuple(COLOURS)
# The page that a step is done on; the admin knows their addresses.
Link = Literal[
    "",
    "accept",
    "account",
    "account_add",
    "account_limits",
    "assistant",
    "connection",
    "doctor",
    "model_limits",
    "number",
    "number_add",
    "policy",
    "secrets",
]
MOST_SHORT: Final = 90


@dataclass(frozen=True, slots=True)
class Found:
    """One finding.

    Args:
        code: its name for programs; the same as the move's where it is the same finding.
        field: what it is about.
        short: at most 90 characters, for the list.
        cause: the whole, for the number's page.
        step: what to do, in one sentence; '' for a note.
        link: the page that it is done on; ``target`` is a row's id there, '' for the list.
    """

    code: str
    weight: Weight
    field: str
    short: str
    cause: str
    step: str = ""
    link: Link = ""
    target: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Found:
        """Return the finding that ``as_json`` wrote; of another form what is known of it."""
        usual = {"code": "", "weight": "look", "field": "", "short": "", "cause": ""}
        known = {each.name for each in fields(cls)}
        return cls(**(usual | {key: value for key, value in stored.items() if key in known}))


def cut(text: str, most: int = MOST_SHORT) -> str:
    """Return ``text`` with at most so many characters, an ellipsis among them if it was longer."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
