"""What of an organisation decides how its assistants sound: what findings take into account.

Owns the values only. Pure: reading them is ``selectors.circumstances_of``, what they change is said
by the ``*_account`` modules. Without them findings say what holds everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from assistants.voices import VoiceKey


@dataclass(frozen=True, slots=True)
class Answering:
    """The connection that answers where a number names no other.

    ``deployment`` is what answers at Azure whatever model a document names, '' elsewhere.
    """

    name: str
    deployment: str = ""
    transcriber: str = ""
    takes_hints: bool = True


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Voices that operators decided, and the default connection if there is one."""

    decided: Mapping[VoiceKey, str] = field(default_factory=dict)
    answering: Answering | None = None


NOTHING_KNOWN: Final = Circumstances()
