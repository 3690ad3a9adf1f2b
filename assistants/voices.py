"""Which Realtime voice stands in for a voice of Vapi's providers (vapi.md 2.4).

Owns the shipped catalogue (``voice_catalogue.csv`` beside this file, which names its sources), the
spellings of providers and ids, and which Realtime voices are near to each other. Pure; it knows
nothing of documents, nor of what an operator decided (``voice_table``). A voice that is in no
catalogue gets the default one, of the gender that its own name says if it says one.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

# Voices that a Realtime session accepts: Vapi's page and its schema note together (vapi.md 2.4).
REALTIME_VOICES: Final = (
    *("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar"),
)
DEFAULT_VOICE: Final = "marin"
FEEL: Final[Mapping[str, str]] = {
    "alloy": "neutral",
    "ash": "warm male",
    "ballad": "expressive, British",
    "cedar": "calm male",
    "coral": "friendly female",
    "echo": "young male",
    "marin": "calm female",
    "sage": "soft female",
    "shimmer": "bright female",
    "verse": "lively male",
}
PROVIDER_CHARACTERS: Final = 40
ID_CHARACTERS: Final = 200

_CATALOGUE_FILE: Final = Path(__file__).with_name("voice_catalogue.csv")
_DEFAULT_MALE: Final = "cedar"
# Nearest first, within a gender; the neutral one closes either list.
_FEMALE: Final = ("marin", "coral", "sage", "shimmer")
_MALE: Final = ("cedar", "ash", "ballad", "verse", "echo")
_NEUTRAL: Final = "alloy"
# Spellings without anything but letters and digits, to Vapi's name of the provider.
_PROVIDERS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("11labs", "11lab", "elevenlabs", "elevenlab", "eleven"), "11labs"),
    **dict.fromkeys(("openai", "openaitts"), "openai"),
    **dict.fromkeys(("azure", "azurespeech", "azuretts", "microsoftazure"), "azure"),
    **dict.fromkeys(("cartesia", "cartesiaai"), "cartesia"),
    **dict.fromkeys(("deepgram", "deepgramaura"), "deepgram"),
    **dict.fromkeys(("minimax", "minimaxai"), "minimax"),
    **dict.fromkeys(("playht", "playai"), "playht"),
    **dict.fromkeys(("rime", "rimeai"), "rime-ai"),
    **dict.fromkeys(("smallest", "smallestai"), "smallest-ai"),
    **dict.fromkeys(("xai", "grok"), "xai"),
    **dict.fromkeys(("custom", "customvoice"), "custom-voice"),
    **{name: name for name in ("vapi", "hume", "inworld", "lmnt", "microsoft", "neuphonic")},
    **{name: name for name in ("sesame", "tavus", "wellsaid")},
}
# Deepgram writes a voice as `thalia` or as `aura-2-thalia-en`; Azure's variants end in
# `MultilingualNeural`, `:DragonHDLatestNeural` and the like.
_AURA: Final = re.compile(r"aura(?:-\d+)?-([a-z]+)-[a-z]{2}")
_AZURE: Final = re.compile(
    r"([a-z]{2,3}-[a-z]{2})-([a-z]+?)(?:multilingual\w*?|turbo\w*?)?(?:neural|:.*)"
)
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_FEMALE_WORDS: Final = frozenset({"female", "woman", "lady", "girl"})
_MALE_WORDS: Final = frozenset({"male", "man", "guy", "boy"})


class VoiceKey(NamedTuple):
    """Vapi's name of the provider and the provider's id in lower case; either may be empty."""

    provider: str
    voice_id: str


@dataclass(frozen=True, slots=True)
class StandIn:
    """A Realtime voice, the name people know the old one by, and why the two belong together.

    ``key`` is how the old voice is stored: every spelling of one voice has the same.
    """

    voice: str
    known_as: str
    reason: str
    is_same: bool = False
    key: VoiceKey = VoiceKey("", "")
    about: str = ""


@cache
def _catalogue() -> Mapping[VoiceKey, StandIn]:
    """Return every voice of the catalogue by each of its keys; read once, when first asked for."""
    found: dict[VoiceKey, StandIn] = {}
    with _CATALOGUE_FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            ids = row["ids"].lower().split("|")
            voice = row["voice"]
            known = StandIn(
                voice,
                row["known_as"],
                f"the nearest feel: {FEEL[voice]}",
                key=VoiceKey(row["provider"], ids[0]),
                about=row["about"],
            )
            for each in ids:
                found[VoiceKey(row["provider"], each)] = known
    return found


@cache
def _owners() -> Mapping[str, str]:
    """Return the provider of each id that exactly one has, for documents that name none."""
    keys = _catalogue().keys()
    holders = Counter(key.voice_id for key in keys)
    return {key.voice_id: key.provider for key in keys if holders[key.voice_id] == 1}


def _printable(text: str, limit: int) -> str:
    """Leave out what a database refuses, such as NUL and halves of surrogate pairs."""
    return "".join(each for each in text.strip() if each.isprintable())[:limit]


def provider_name(spelling: str) -> str:
    """Return the provider that Vapi knows by this or a similar spelling."""
    lower = _printable(spelling.lower(), PROVIDER_CHARACTERS)
    return _PROVIDERS.get(re.sub(r"[^a-z0-9]", "", lower), lower)


def stand_in(provider: str, voice_id: str) -> StandIn:
    """Return the Realtime voice for ``voice_id`` of ``provider``; either may be empty."""
    name, wanted = provider_name(provider), _printable(voice_id.lower(), ID_CHARACTERS)
    if wanted in REALTIME_VOICES and name in ("openai", ""):
        same = VoiceKey("openai", wanted)
        return StandIn(wanted, wanted, "the same voice", is_same=True, key=same)
    table = _catalogue()
    for key in _spellings(name or _owners().get(wanted, ""), wanted):
        if key in table:
            return table[key]
    return _unknown(VoiceKey(name, wanted), _printable(voice_id, ID_CHARACTERS))


def _spellings(provider: str, voice_id: str) -> list[VoiceKey]:
    keys = [VoiceKey(provider, voice_id)]
    if provider == "deepgram" and (aura := _AURA.fullmatch(voice_id)):
        keys.append(VoiceKey(provider, aura[1]))
    if provider == "azure" and (azure := _AZURE.fullmatch(voice_id)):
        keys.append(VoiceKey(provider, f"{azure[1]}-{azure[2]}neural"))
    return keys


def _unknown(key: VoiceKey, known_as: str) -> StandIn:
    """Return the default voice, of the gender that the id itself says."""
    words = {word.lower() for word in _WORD.findall(known_as)}
    said = [_DEFAULT_MALE] if words & _MALE_WORDS else []
    said += [DEFAULT_VOICE] if words & _FEMALE_WORDS else []
    if len(said) == 1:
        return StandIn(said[0], known_as, f"its name says so: {FEEL[said[0]]}", key=key)
    if key.provider == "custom-voice":
        why = "your own speech server is not asked"
    elif not key.voice_id:
        why = "no voice is named"
    else:
        why = "no stand-in is known"
    reason = f"{why}, so the default is used: {FEEL[DEFAULT_VOICE]}"
    return StandIn(DEFAULT_VOICE, known_as, reason, key=key)


def nearest(voice: str) -> tuple[str, ...]:
    """Return every Realtime voice, the nearest to ``voice`` first and ``voice`` itself before all.

    Voices of the same gender come before the neutral one, and that one before the others.
    """
    own, other = (_MALE, _FEMALE) if voice in _MALE else (_FEMALE, _MALE)
    ranked = (*own, _NEUTRAL, *other)
    first = (voice,) if voice in REALTIME_VOICES else ()
    return tuple(dict.fromkeys((*first, *ranked)))
