"""What callers hear for the voice of an assistant document, and who says so.

Owns the words of that one finding: the same voice, what an operator decided, or what the catalogue
proposes. Pure; the order of authority is that of ``voice_table``, which calls follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from assistants.findings import AUDIBLE, MAPPED, Notes, short
from assistants.voices import VoiceKey
from assistants.wire import vapi_config

_DECIDE: Final = (
    'Fix: hear the candidates and decide under "Voices" in the admin; what is decided there '
    "holds for every assistant with this voice."
)
_DECIDED: Final = 'An operator decided so under "Voices" in the admin.'


def account_voice(
    document: Mapping[str, Any], decided: Mapping[VoiceKey, str], notes: Notes
) -> None:
    """Add the finding on the voice.

    Args:
        decided: the Realtime voices that operators of the organisation decided.
    """
    voice = document.get("voice")
    found = vapi_config.voice_of(voice)
    chosen = decided.get(found.key)
    heard = chosen or found.voice
    if found.is_same and heard == found.voice:
        notes.add("$.voice", MAPPED, f"Callers hear the same voice, {heard}.")
        return
    if not voice:
        why = _DECIDED if chosen else _DECIDE
        words = f"No voice is named; callers hear the Realtime voice {heard}. {why}"
        notes.add("$.voice", AUDIBLE, words)
        return
    whose, known_as = short(found.key.provider), short(found.known_as) or "without a name"
    old = " ".join(filter(None, (whose, known_as)))
    menu = "A menu of voices, of which the first is taken. " * vapi_config.is_voice_menu(voice)
    change = f"callers hear the Realtime voice {heard} instead of {old}"
    why = f". {_DECIDED}" if chosen else f" ({found.reason}). {_DECIDE}"
    notes.add("$.voice", AUDIBLE, f"{menu}{old} -> {heard}: {change}{why}")
