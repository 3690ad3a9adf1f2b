"""What becomes of a squad: findings on its members, their overrides and who hands over to whom.

Owns what this version does with each field of vapi.md 8.1. Pure; whether members exist is said by
``assistants.references``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from assistants.findings import (
    INVALID,
    KEPT,
    LOSSY,
    MAPPED,
    SECRET_MISSING,
    UNSUPPORTED,
    Notes,
    several,
    short,
    summarise_kept,
)
from assistants.wire.files import step

_KEPT_WHY: Final[Mapping[str, str]] = {
    "orgId": "Replaced by the organisation that imports.",
    "updatedAt": "Replaced by the time of the import.",
}
_MEMBER_KEYS: Final = (
    "assistantId",
    "assistant",
    "assistantOverrides",
    "assistantDestinations",
    "assistantVersion",
)


def account_squad(squad: Mapping[str, Any], notes: Notes) -> None:
    """Add the findings on a squad document; every leaf is spoken of afterwards."""
    notes.mark("$.id", "$.createdAt", "$.name")
    members = squad.get("members")
    members = members if isinstance(members, list) else []
    notes.add(
        "$.members",
        MAPPED,
        "The first member answers calls of a number with this squad; the others take a call over "
        "when a handoff tool or an entry of assistantDestinations leads to them.",
    )
    if not members:
        notes.add("$.members", INVALID, "A squad needs members. Fix: add at least one.")
    for index, member in enumerate(members):
        _account_member(member, notes, step("$.members", index))
    _account_names(members, notes)
    overrides = squad.get("membersOverrides")
    if isinstance(overrides, Mapping) and overrides:
        notes.add(
            "$.membersOverrides",
            MAPPED,
            f"Laid over every member, and over its own: {several(map(short, overrides))}.",
        )
    _account_secrets(squad, notes, "$")
    summarise_kept(squad, notes, _KEPT_WHY)


def _account_member(member: Any, notes: Notes, path: str) -> None:
    if not isinstance(member, Mapping):
        notes.add(path, INVALID, "No member: an object with `assistantId` or `assistant` belongs.")
        return
    if isinstance(member.get("assistant"), Mapping):
        notes.add(
            step(path, "assistant"),
            LOSSY,
            "An assistant written inside the squad: it takes its part in the squad's calls, but is "
            "in no list of assistants, and its fields are not reported one by one. To see what "
            "becomes of each, put it into a file of its own as well.",
        )
        if member.get("assistantId"):
            notes.add(
                step(path, "assistantId"),
                KEPT,
                "An assistant stands beside this id, as in some of Vapi's answers; both are kept.",
            )
    elif not isinstance(member.get("assistantId"), str) or not member["assistantId"]:
        notes.add(
            path,
            INVALID,
            "Neither `assistantId` nor `assistant`, so it is nobody. Fix: name one of them.",
        )
    overrides = member.get("assistantOverrides")
    if isinstance(overrides, Mapping) and overrides:
        notes.add(
            step(path, "assistantOverrides"),
            MAPPED,
            "Laid over the assistant in calls of this squad, and no others: "
            f"{several(map(short, overrides))}.",
        )
    destinations = member.get("assistantDestinations")
    if isinstance(destinations, list) and destinations:
        notes.add(
            step(path, "assistantDestinations"),
            MAPPED,
            f"{len(destinations)} ways to hand the call over, each offered as a tool.",
        )
        for index, each in enumerate(destinations):
            if isinstance(each, Mapping) and each.get("variableExtractionPlan"):
                at = step(
                    step(step(path, "assistantDestinations"), index), "variableExtractionPlan"
                )
                words = "Nothing is taken from the conversation into variables."
                notes.add(at, UNSUPPORTED, words)
    strange = [short(key) for key in member if key not in _MEMBER_KEYS]
    if strange:
        notes.add(
            path, KEPT, f"Fields that Vapi's squads do not have are kept: {several(strange)}."
        )


def _account_names(members: list[Any], notes: Notes) -> None:
    """Names must differ, and a destination's name must be a member's (vapi.md 8.1)."""
    inline = [
        (index, member["assistant"]["name"])
        for index, member in enumerate(members)
        if isinstance(member, Mapping)
        and isinstance(member.get("assistant"), Mapping)
        and isinstance(member["assistant"].get("name"), str)
    ]
    counts = Counter(name for _, name in inline)
    for index, name in inline:
        if counts[name] > 1:
            notes.add(
                step(step(step("$.members", index), "assistant"), "name"),
                INVALID,
                f"Another member is called {short(name)!r} too; Vapi refuses such a squad, since "
                "a hand-over could not tell them apart. Fix: rename one.",
            )
    if any(isinstance(each, Mapping) and each.get("assistantId") for each in members):
        return  # the names of assistants elsewhere are not known here
    for path, name in _destination_names(members):
        if name in counts:
            notes.add(path, MAPPED, "Names a member of this squad.")
        else:
            notes.add(
                path,
                INVALID,
                f"No member is called {short(name)!r}. Fix: write the member's exact name.",
            )


def _destination_names(members: list[Any]) -> Iterator[tuple[str, str]]:
    for index, member in enumerate(members):
        if not isinstance(member, Mapping):
            continue
        destinations = member.get("assistantDestinations")
        for place, each in enumerate(destinations if isinstance(destinations, list) else ()):
            if isinstance(each, Mapping) and isinstance(each.get("assistantName"), str):
                path = step(step(step("$.members", index), "assistantDestinations"), place)
                yield step(path, "assistantName"), each["assistantName"]


def _account_secrets(node: Any, notes: Notes, path: str) -> None:
    """An export never has a secret, only Vapi's flag that one is set (vapi.md trap 16)."""
    if isinstance(node, list):
        for index, child in enumerate(node):
            _account_secrets(child, notes, step(path, index))
    elif isinstance(node, Mapping):
        if node.get("isServerUrlSecretSet") is True and not node.get("serverUrlSecret"):
            notes.add(
                step(path, "isServerUrlSecretSet"),
                SECRET_MISSING,
                "Vapi has a server secret here that exports do not contain. Fix: enter it again.",
            )
        for key, child in node.items():
            if isinstance(child, Mapping | list):
                _account_secrets(child, notes, step(path, str(key)))
