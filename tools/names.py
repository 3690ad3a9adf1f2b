"""Names that a model may call a tool by, made from the names that documents give.

Owns the one rule of OpenAI's function names; pure, standard library only. A session with a single
illegal or doubled name is refused as a whole (openai_realtime.md, trap 8), so every name is made
legal before it is sent.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import Final

LONGEST: Final = 64
_ILLEGAL: Final = re.compile(r"[^a-zA-Z0-9_-]+")


def legal_name(name: str, taken: Collection[str] = ()) -> str:
    """Return ``name`` as it is when a model may use it, else a legal one near it (vapi.md trap 11).

    Letters lose their accents, other characters become ``_``.

    Args:
        taken: names in use already; a number is added where ``name`` is one of them.
    """
    base = name[:LONGEST]
    if _ILLEGAL.search(name):
        plain = unicodedata.normalize("NFKD", name)
        letters = "".join(each for each in plain if not unicodedata.combining(each))
        base = _ILLEGAL.sub("_", letters).strip("_")[:LONGEST].strip("_")
    base = base or "tool"
    legal, number = base, 1
    while legal in taken:
        number += 1
        ending = f"_{number}"
        legal = base[: LONGEST - len(ending)] + ending
    return legal
