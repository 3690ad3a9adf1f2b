"""The reader of handoff tools: to whom a call may go, what the model is offered, what goes along.

Owns the destinations of ``handoff`` tools and of ``transferCall`` tools that name an assistant
(vapi.md 3.6, 8.1, 8.2). Pure and total: any JSON is read, what makes no sense is left out. It must
not know which assistants exist; their names come in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tools.loose_json import as_list, as_object, as_text, as_whole_number

ContextKind = Literal[
    "all", "none", "lastNMessages", "userAndAssistantMessages", "previousAssistantMessages"
]
CONTEXT_KINDS: Final[tuple[ContextKind, ...]] = (
    "all",
    "none",
    "lastNMessages",
    "userAndAssistantMessages",
    "previousAssistantMessages",
)
DESTINATION: Final = "destination"
DYNAMIC: Final = "dynamic"
HANDED_OVER: Final = "The call has been handed over."
_MOST_MESSAGES: Final = 1_000
_KINDS: Final = ("assistant", "squad")
# What the platform says of a call; an argument of the same name is another thing.
_FACTS: Final = frozenset({"customer", "phoneNumber", "call", "transport", "now", DESTINATION})
# What the plain entries of squads call the same (vapi.md 8.1).
_MODES: Final[Mapping[str, ContextKind]] = {
    "delete-history": "none",
    "swap-system-message-in-history-and-remove-transfer-tool-messages": "userAndAssistantMessages",
}


@dataclass(frozen=True, slots=True)
class Context:
    """What of the conversation the next assistant is told; ``most`` is for ``lastNMessages``."""

    kind: ContextKind = "all"
    most: int = 0


@dataclass(frozen=True, slots=True)
class Destination:
    """An assistant that a call may be handed to, by id or by name; or a squad, by id.

    ``overrides`` is what of its document is otherwise there (``assistantOverrides``, and
    ``squadOverrides`` for the member that takes over). ``inline`` is an assistant that is written
    into the destination itself. ``entry_name`` is the member of a squad, '' for the first.
    ``server`` is who says where the call goes, of a destination that is decided in the call.
    """

    assistant_id: str = ""
    assistant_name: str = ""
    description: str = ""
    context: Context = Context()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    inline: Mapping[str, Any] = field(default_factory=dict)
    squad_id: str = ""
    entry_name: str = ""
    server: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def words(self) -> tuple[str, ...]:
        """Return what the model may call it."""
        own = as_text(self.inline.get("name"))
        asked = DYNAMIC if self.server else ""
        words = (self.assistant_id, self.assistant_name, own, self.squad_id, asked)
        return tuple(filter(None, words))

    def called(self, names: Mapping[str, str]) -> str:
        """Return its name: its own, that of the saved assistant, else its id."""
        own = self.assistant_name or as_text(self.inline.get("name"))
        key = self.assistant_id or self.squad_id or (DYNAMIC if self.server else "")
        return own or names.get(key.lower(), key)


def destinations_of(document: Any) -> tuple[Destination, ...]:
    """Return the assistants and squads that a tool hands calls to, in order.

    One whose server says in the call who it is stands among them, if it names that server.
    """
    entries = map(as_object, as_list(as_object(document).get("destinations")))
    found = (_asked(each) if each.get("type") == DYNAMIC else destination(each) for each in entries)
    return tuple(each for each in found if each is not None and each.words)


def destination(entry: Any) -> Destination | None:
    """Read a destination that is an assistant or a squad, None for any other."""
    whole = as_object(entry)
    return _destination(whole) if whole.get("type") in _KINDS else None


def _asked(entry: Mapping[str, Any]) -> Destination:
    server = as_object(entry.get("server"))
    return Destination(
        description=as_text(entry.get("description")),
        server=server if as_text(server.get("url")) else {},
    )


def hands_over(document: Any) -> bool:
    """Tell whether a ``transferCall`` names assistants and no number: the same as a handoff."""
    entries = [as_object(each) for each in as_list(as_object(document).get("destinations"))]
    numbers = [each for each in entries if each.get("type", "number") == "number"]
    return bool(destinations_of(document)) and not numbers


def _destination(entry: Mapping[str, Any]) -> Destination:
    if entry.get("type") == "squad":
        return Destination(
            squad_id=as_text(entry.get("squadId")),
            entry_name=as_text(entry.get("entryAssistantName")),
            description=as_text(entry.get("description")),
            context=context_of(entry),
            overrides=as_object(entry.get("squadOverrides")),
        )
    return Destination(
        assistant_id=as_text(entry.get("assistantId")),
        assistant_name=as_text(entry.get("assistantName")),
        description=as_text(entry.get("description")),
        context=context_of(entry),
        overrides=as_object(entry.get("assistantOverrides")),
        inline=as_object(entry.get("assistant")),
    )


def context_of(entry: Mapping[str, Any]) -> Context:
    """Return what of the conversation a destination is told; all of it where nothing is said."""
    plan = as_object(entry.get("contextEngineeringPlan"))
    kind = next((each for each in CONTEXT_KINDS if each == plan.get("type")), None)
    if kind is None:
        return Context(_MODES.get(as_text(entry.get("transferMode")), "all"))
    return Context(kind, as_whole_number(plan.get("maxMessages"), (0, _MOST_MESSAGES), 0))


def chosen(destinations: Sequence[Destination], arguments: Mapping[str, Any]) -> Destination | None:
    """Return the destination that the model means, None where it names nobody of the list.

    Where there is one only, that is meant, whatever a hand-written schema calls it.
    """
    if len(destinations) == 1:
        return destinations[0]
    word = as_text(arguments.get(DESTINATION)).strip()
    for form in (str, str.casefold):
        for each in destinations:
            if word and form(word) in map(form, each.words):
                return each
    return None


def handed_values(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that become variables of the next assistant."""
    return {key: value for key, value in arguments.items() if key not in _FACTS}


def offered_function(
    document: Any, *, names: Mapping[str, str], groups: int = 0
) -> tuple[str, str, dict[str, Any]]:
    """Return name, description and schema under which the model is offered a handoff tool.

    What the document says of its function holds; the rest is made as Vapi makes it (vapi.md 3.5).

    Args:
        names: names of saved assistants by id, in lower case.
        groups: how many tools with several destinations were offered before this one.
    """
    whole = as_object(document)
    function = as_object(whole.get("function"))
    places = destinations_of(whole)
    called = [each.called(names) for each in places]
    name = as_text(function.get("name")) or as_text(whole.get("name"))
    if not name:
        single = len(places) == 1
        name = f"handoff_to_{called[0]}" if single else f"handoff_to_group_{groups + 1}"
    given = as_text(function.get("description")) or as_text(whole.get("description"))
    parameters = as_object(function.get("parameters"))
    return (
        name,
        given or _description(places, called),
        dict(parameters) if parameters else _parameters(places, called),
    )


def _description(places: Sequence[Destination], called: Sequence[str]) -> str:
    lines = [
        f"{number}. {name}." + (f" When: {place.description}" if place.description else "")
        for number, (place, name) in enumerate(zip(places, called, strict=True), 1)
    ]
    return "\n".join(("Hands the call over to another assistant:", *lines))


def _parameters(places: Sequence[Destination], called: Sequence[str]) -> dict[str, Any]:
    if len(places) == 1:
        return {"type": "object", "properties": {}}
    words = [place.words[0] for place in places]
    options = ", ".join(
        f"{word} is {name}" for word, name in zip(words, called, strict=True) if word != name
    )
    destination: dict[str, Any] = {"type": "string", "enum": list(dict.fromkeys(words))}
    if options:
        destination["description"] = options
    return {
        "type": "object",
        "properties": {DESTINATION: destination},
        "required": [DESTINATION],
    }
