"""The reader of Vapi's assistant object (vapi.md 2, checked 2026-11-22).

Owns which fields of a document the platform works with, where old and hand-written exports keep
them, and how an edit in the admin is written back. Pure and total: whatever JSON arrives, nothing
raises; a value of the wrong type is read as if it were absent. Everything not read here stays in
the raw document.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from assistants.legacy import inline_tools
from assistants.speech_models import is_speech_model
from assistants.voices import DEFAULT_VOICE, REALTIME_VOICES, StandIn, stand_in
from tools.loose_json import as_list, as_object, as_text, as_whole_number

__all__ = [
    "DEFAULT_VOICE",
    "DURATION_SECONDS",
    "FIRST_MESSAGE_MODES",
    "REALTIME_VOICES",
    "SPEAKS_FIRST",
    "AssistantReading",
    "PromptPlace",
    "is_any_language",
    "is_audio_url",
    "is_voice_menu",
    "prompt_places",
    "read_assistant",
    "voice_of",
    "write_assistant",
]

SPEAKS_FIRST: Final = "assistant-speaks-first"
FIRST_MESSAGE_MODES: Final = (
    SPEAKS_FIRST,
    "assistant-speaks-first-with-model-generated-message",
    "assistant-waits-for-user",
)
DEFAULT_DURATION_SECONDS: Final = 600
CONNECTION_MODEL: Final = "connection-default"
DURATION_SECONDS: Final = (10, 43_200)
# Where hand-written documents keep the prompt when `model` has none; the first one wins.
_TOP_PROMPTS: Final = ("systemPrompt", "prompt", "systemMessage", "instructions")
_MODEL_PROMPTS: Final = ("systemPrompt", "prompt", "systemMessage")
_VOICE_IDS: Final = ("voiceId", "voice", "voice_id")
# Properties of one voice; a menu has others, which hold the voices.
_VOICE_PROPERTIES: Final = (*_VOICE_IDS, "provider", "fallbackPlan", "chunkPlan")
_AUDIO_URL: Final = re.compile(r"\s*https?://\S+\s*")


@dataclass(frozen=True, slots=True)
class PromptPlace:
    """A place of a document that holds a prompt: its JSON path, and whether it is used."""

    path: str
    text: str
    is_used: bool


@dataclass(frozen=True, slots=True)
class AssistantReading:
    """What the platform takes from an assistant document; defaults are Vapi's."""

    name: str = ""
    instructions: str = ""
    first_message: str = ""
    first_message_mode: str = SPEAKS_FIRST
    first_message_interruptible: bool = False
    end_call_message: str = ""
    voice: str = DEFAULT_VOICE
    language: str = "en"
    model: str = ""
    max_duration_seconds: int = DEFAULT_DURATION_SECONDS
    server_url: str = ""
    server_secret: str = ""
    inline_tools: tuple[Mapping[str, Any], ...] = ()
    tool_ids: tuple[str, ...] = ()


def read_assistant(document: Any) -> AssistantReading:
    """Read an assistant document."""
    whole = as_object(document)
    model = as_object(whole.get("model"))
    server = as_object(whole.get("server"))
    mode = as_text(whole.get("firstMessageMode"))
    first_message = as_text(whole.get("firstMessage"))
    return AssistantReading(
        name=as_text(whole.get("name")),
        instructions=_instructions(whole),
        # An address would be read out letter by letter; playing the file comes later.
        first_message="" if is_audio_url(first_message) else first_message,
        first_message_mode=mode if mode in FIRST_MESSAGE_MODES else SPEAKS_FIRST,
        first_message_interruptible=whole.get("firstMessageInterruptionsEnabled") is True,
        end_call_message=as_text(whole.get("endCallMessage")),
        voice=voice_of(whole.get("voice")).voice,
        language=_language(as_object(whole.get("transcriber"))),
        model=_realtime_model(model.get("model") or whole.get("model")),
        max_duration_seconds=as_whole_number(
            whole.get("maxDurationSeconds"), DURATION_SECONDS, DEFAULT_DURATION_SECONDS
        ),
        server_url=as_text(server.get("url")) or as_text(whole.get("serverUrl")),
        server_secret=as_text(server.get("secret")) or as_text(whole.get("serverUrlSecret")),
        inline_tools=tuple(inline_tools(whole, model)),
        tool_ids=_tool_ids(model),
    )


def _tool_ids(model: Mapping[str, Any]) -> tuple[str, ...]:
    """Return ``toolIds``, then what only ``toolRefs`` names (vapi.md 2.3)."""
    refs = (as_object(ref).get("toolId") for ref in as_list(model.get("toolRefs")))
    ids = (*as_list(model.get("toolIds")), *refs)
    return tuple(dict.fromkeys(item for item in ids if isinstance(item, str)))


def prompt_places(document: Any) -> tuple[PromptPlace, ...]:
    """Return every place that holds a prompt; the used ones, joined, are the instructions.

    System messages win over ``model.systemPrompt``, which wins over the fields that hand-written
    documents have at the top. A top-level ``context`` belongs to a top-level prompt.
    """
    whole = as_object(document)
    model = as_object(whole.get("model"))
    groups = [
        [
            (f"$.model.messages[{index}].content", as_text(as_object(message).get("content")))
            for index, message in enumerate(as_list(model.get("messages")))
            if as_object(message).get("role") == "system"
        ],
        *([(f"$.model.{key}", as_text(model.get(key)))] for key in _MODEL_PROMPTS),
        *([(f"$.{key}", as_text(whole.get(key)))] for key in _TOP_PROMPTS),
        [("$.context", as_text(whole.get("context")))],
    ]
    places: list[PromptPlace] = []
    for group in groups:
        found = [(path, text) for path, text in group if text.strip()]
        used = not any(place.is_used for place in places)
        if found and found[0][0] == "$.context":
            used = all(p.path.count(".") == 1 for p in places if p.is_used)
        places += [PromptPlace(path, text, used) for path, text in found]
    return tuple(places)


def write_assistant(document: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``document`` with ``changes`` written into it, the rest untouched.

    Keys of ``changes`` are fields of ``AssistantReading``; ``tool_ids`` replaces the saved tools
    and leaves inline ones alone; an empty ``model`` means the connection's. ``voice`` leaves
    another provider's voice alone whose stand-in it is; ``own_voice`` puts a Realtime voice in its
    place.
    """
    new = dict(as_object(document))
    short = as_text(new.get("model"))
    model: dict[str, Any] = {"model": short} if short else dict(as_object(new.get("model")))
    before = dict(model)
    for key, value in changes.items():
        if key in _PLAIN:
            new[_PLAIN[key]] = value
        elif key == "instructions" and _instructions(new) != value:
            new = {k: v for k, v in new.items() if k not in (*_TOP_PROMPTS, "context")}
            model = _with_instructions(model, value)
        elif key == "voice":
            new["voice"] = _with_voice(new.get("voice"), value)
        elif key == "own_voice":
            new["voice"] = _own_voice(new.get("voice"), value)
        elif key == "language":
            spoken = value or "multi"
            new["transcriber"] = {**as_object(new.get("transcriber")), "language": spoken}
        elif key == "model" and value != _realtime_model(model.get("model")):
            model |= {"provider": "openai", "model": value or CONNECTION_MODEL}
        elif key == "tool_ids":
            model["toolIds"] = list(value)
        elif key == "server_url":
            new = _with_server(new, "url", "serverUrl", value)
        elif key == "server_secret":
            new = _with_server(new, "secret", "serverUrlSecret", value)
    if model and (model != before or not short):
        # Vapi's type requires both; a name that is no Realtime model leaves the choice to the
        # connection.
        new["model"] = {"provider": "openai", "model": CONNECTION_MODEL, **model}
    return new


_PLAIN: Final[Mapping[str, str]] = {
    "name": "name",
    "first_message": "firstMessage",
    "first_message_mode": "firstMessageMode",
    "first_message_interruptible": "firstMessageInterruptionsEnabled",
    "end_call_message": "endCallMessage",
    "max_duration_seconds": "maxDurationSeconds",
}


def _set_or_drop(target: dict[str, Any], key: str, value: Any) -> None:
    if value in ("", None):
        target.pop(key, None)
    else:
        target[key] = value


def _with_server(document: dict[str, Any], key: str, legacy_key: str, value: str) -> dict[str, Any]:
    new = {name: item for name, item in document.items() if name != legacy_key}
    server = dict(as_object(new.get("server")))
    _set_or_drop(server, key, value)
    if server or "server" in new:
        new["server"] = server
    return new


def _with_voice(voice: Any, name: str) -> Any:
    """Keep another provider's voice whose stand-in was not changed."""
    if voice and voice_of(voice).voice == name:
        return voice
    return _own_voice(voice, name)


def _own_voice(voice: Any, name: str) -> dict[str, Any]:
    """Return a Realtime voice that speaks as fast as the one it replaces."""
    speed = as_object(voice).get("speed")
    own = {"provider": "openai", "voiceId": name}
    return own if speed is None else {**own, "speed": speed}


def _with_instructions(model: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Put ``text`` where the first system message was; later system messages are part of it."""
    others = [m for m in as_list(model.get("messages")) if as_object(m).get("role") != "system"]
    system = [{"role": "system", "content": text}] if text else []
    kept = {key: value for key, value in model.items() if key not in _MODEL_PROMPTS}
    return kept | {"messages": system + others}


def _instructions(document: Any) -> str:
    return "\n\n".join(place.text for place in prompt_places(document) if place.is_used)


def voice_of(voice: Any) -> StandIn:
    """Return the Realtime voice for ``voice``: an object, in short forms a name, or a menu."""
    return stand_in(*(_named_voice(voice) or _menu_voice(voice)))


def is_voice_menu(voice: Any) -> bool:
    """Tell whether ``voice`` offers several and names none itself (corpus.md, surprise 11)."""
    return not _named_voice(voice) and any(_menu_voice(voice))


def _named_voice(voice: Any) -> tuple[str, str] | None:
    entry = as_object(voice)
    name = as_text(voice) or next(filter(None, (as_text(entry.get(k)) for k in _VOICE_IDS)), "")
    provider = as_text(entry.get("provider"))
    return (provider, name) if name or provider else None


def _menu_voice(voice: Any) -> tuple[str, str]:
    """Return the first voice of a menu: a list, or an object of lists and objects."""
    groups = (value for key, value in as_object(voice).items() if key not in _VOICE_PROPERTIES)
    for group in (voice, *groups):
        for entry in (*as_list(group), as_object(group)):
            if named := _named_voice(entry):
                return named
    return ("", "")


def is_audio_url(text: str) -> bool:
    """Tell whether a first message is the address of a sound file (vapi.md 2.2)."""
    return bool(_AUDIO_URL.fullmatch(text))


def is_any_language(language: str) -> bool:
    """Tell whether a transcriber's language leaves it to the model, as ``multi`` does."""
    return language.strip().lower() in {"multi", "auto", "detect", "multilingual"}


def _language(transcriber: Mapping[str, Any]) -> str:
    """Take ISO 639-1 from ``en``, ``en-US`` or ``en_US``; '' lets the model recognise it."""
    spoken = as_text(transcriber.get("language"))
    if is_any_language(spoken):
        return ""
    language = spoken.replace("_", "-").split("-")[0].lower()
    is_code = len(language) == 2 and language.isascii() and language.isalpha()
    return language if is_code else "en"


def _realtime_model(value: Any) -> str:
    name = as_text(value)
    return name if is_speech_model(name) else ""
