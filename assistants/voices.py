"""Which Realtime voice stands in for a voice of Vapi's providers (vapi.md 2.4).

Owns the table of the voices that real exports use most and the spellings of providers. Pure; it
knows nothing of documents. A voice that is not in the table gets the default one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# Voices that a Realtime session accepts: Vapi's page and its schema note together (vapi.md 2.4).
REALTIME_VOICES: Final = (
    *("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar"),
)
DEFAULT_VOICE: Final = "marin"

_PROVIDERS: Final[Mapping[str, str]] = {
    "elevenlabs": "11labs",
    "eleven-labs": "11labs",
    "eleven_labs": "11labs",
    "11-labs": "11labs",
    "open-ai": "openai",
}


@dataclass(frozen=True, slots=True)
class StandIn:
    """A Realtime voice, the name people know the old one by, and why the two belong together."""

    voice: str
    known_as: str
    reason: str
    is_same: bool = False


_FEEL: Final[Mapping[str, str]] = {
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
_TABLE: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "vapi": {
        **{name: (name.capitalize(), "cedar") for name in ("elliot", "godfrey")},
        **{name: (name.capitalize(), "ash") for name in ("harry", "rohan", "dan", "sagar")},
        **{name: (name.capitalize(), "echo") for name in ("cole", "kai", "zac")},
        **{name: (name.capitalize(), "verse") for name in ("nico", "leo")},
        **{name: (name.capitalize(), "coral") for name in ("tara", "savannah", "paige", "jess")},
        **{name: (name.capitalize(), "marin") for name in ("kylie", "clara", "emma", "leah")},
        **{name: (name.capitalize(), "sage") for name in ("neha", "layla", "mia")},
        **{name: (name.capitalize(), "shimmer") for name in ("lily", "hana", "spencer", "zoe")},
    },
    "11labs": {
        "21m00tcm4tlvdq8ikwam": ("Rachel", "marin"),
        "rachel": ("Rachel", "marin"),
        "exavitqu4vr4xnsdxmal": ("Sarah", "coral"),
        "sarah": ("Sarah", "coral"),
        "xrexe9ykig1wjnnlvkgx": ("Matilda", "marin"),
        "matilda": ("Matilda", "marin"),
        "soyhlrjzk2x1ezopc6cr": ("Harry", "ash"),
        "harry": ("Harry", "ash"),
        "pninz6obpgdqgcfmajgb": ("Adam", "cedar"),
        "adam": ("Adam", "cedar"),
        "burt": ("Burt", "cedar"),
        "azndlk1xvekhbfbobxnf": ("Domi", "shimmer"),
        "errvgvgstwqhjvqlgxkb": ("Antoni", "verse"),
        "mf3mgyeyculyckqdkzga": ("Elli", "shimmer"),
        "tx3laquex3jbm7gr7v7q": ("Liam", "echo"),
        "cgsgspjwsmw8bdjolrlm": ("Jessica", "coral"),
        "9bwtsminqrjldrnrgpcg": ("Aria", "coral"),
    },
    "openai": {
        "fable": ("fable", "ballad"),
        "onyx": ("onyx", "cedar"),
        "nova": ("nova", "coral"),
    },
    "azure": {
        "fr-fr-deniseneural": ("Denise", "marin"),
        "zh-cn-xiaoxiaoneural": ("Xiaoxiao", "shimmer"),
        "en-us-jennyneural": ("Jenny", "coral"),
        "andrew": ("Andrew", "cedar"),
        "emma": ("Emma", "marin"),
        "brian": ("Brian", "ash"),
    },
    "deepgram": {
        "thalia": ("Thalia", "coral"),
        "asteria": ("Asteria", "coral"),
        "luna": ("Luna", "shimmer"),
        "orion": ("Orion", "cedar"),
        "arcas": ("Arcas", "verse"),
    },
    "minimax": {
        "socialmedia_female_1_v1": ("social media, female", "shimmer"),
        "socialmedia_female_2_v1": ("social media, female", "coral"),
    },
}


def provider_name(spelling: str) -> str:
    """Return the provider that Vapi knows by this or a similar spelling."""
    lower = spelling.strip().lower()
    return _PROVIDERS.get(lower, lower)


def stand_in(provider: str, voice_id: str) -> StandIn:
    """Return the Realtime voice for ``voice_id`` of ``provider``; either may be empty."""
    name = provider_name(provider)
    key = voice_id.strip().lower()
    if key in REALTIME_VOICES and name in ("openai", ""):
        return StandIn(key, key, "the same voice", is_same=True)
    # Deepgram writes a voice as `thalia` or as `aura-2-thalia-en`.
    parts = (key, *key.split("-")) if name == "deepgram" else (key,)
    for part in parts:
        known = _TABLE.get(name, {}).get(part)
        if known is not None:
            return StandIn(known[1], known[0], f"the nearest feel: {_FEEL[known[1]]}")
    return StandIn(
        DEFAULT_VOICE, voice_id, f"no stand-in is known, so the default is used: {_FEEL['marin']}"
    )
