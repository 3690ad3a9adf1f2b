"""Texts of other people in which a secret of ours may be repeated, without it.

Owns the forms in which an answer repeats what it was sent, and how they are replaced. Pure. Which
values are secret is ``voiceplatform.base.redaction``'s and its callers' to say.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

MASK: Final = "***"  # as in documents (voiceplatform.base.redaction)
SHORTEST: Final = 4  # anything shorter is in every text by chance
# What is not much longer is masked where it stands alone, and left inside other words.
_ANYWHERE: Final = 8
_MOST_LEVELS: Final = 100


def masked(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` with every secret replaced, in each form in which an answer repeats one."""
    return Veil(secrets).over(text)


class Veil:
    """Secrets with the forms of them worked out once; it hides them in any number of texts.

    Args:
        whole_words: secrets of fewer than 8 characters are hidden only where they stand alone:
            for texts that somebody goes on working with.
    """

    __slots__ = ("_forms", "_words")

    def __init__(self, secrets: Iterable[str], *, whole_words: bool = False) -> None:
        forms = {form for each in secrets if each for form in _repeated(each)}
        # The longest first: a part of a secret must not be what is left of it.
        ordered = sorted(forms, key=len, reverse=True)
        short = [form for form in ordered if whole_words and len(form) < _ANYWHERE]
        self._forms = tuple(form for form in ordered if form not in short)
        alone = "|".join(map(re.escape, short))
        self._words = re.compile(rf"(?<!\w)(?:{alone})(?!\w)") if alone else None

    def __bool__(self) -> bool:
        return bool(self._forms) or self._words is not None

    def over(self, text: str) -> str:
        """Return ``text`` without the secrets."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text if self._words is None else self._words.sub(MASK, text)

    def over_value(self, value: Any, levels: int = _MOST_LEVELS) -> Any:
        """Return a JSON value without the secrets, in names and in values."""
        if isinstance(value, str):
            return self.over(value)
        if not levels:
            return None
        if isinstance(value, Mapping):
            pairs = value.items()
            return {self.over(str(key)): self.over_value(child, levels - 1) for key, child in pairs}
        if isinstance(value, list | tuple):
            return [self.over_value(child, levels - 1) for child in value]
        return value


def _repeated(secret: str) -> set[str]:
    as_json = json.dumps(secret)[1:-1]
    plain_json = json.dumps(secret, ensure_ascii=False)[1:-1]
    # JSON may stand in a text of JSON, as a tool's result does in an event.
    inside = {json.dumps(each)[1:-1] for each in (as_json, plain_json)}
    encoded = {quote(secret, safe=""), quote(secret), quote_plus(secret)}
    slashed = as_json.replace("/", "\\/")
    return {secret, html.escape(secret), as_json, plain_json, slashed, *inside, *encoded}
