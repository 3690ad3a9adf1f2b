"""Words as they are searched: folding, splitting, and how a database is asked for them.

One answer for texts and for questions, shared by uploaded files and by what was said in calls.
Pure: it knows no database. Nothing in a question breaks out of the two forms of a term, since only
letters and digits go in.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

# An accent that stands as a character of its own belongs to the letter before it.
WORD: Final = re.compile(r"[^\W_](?:[^\W_]|[\u0300-\u036f])*")


def folded(text: str) -> str:
    """Return ``text`` without case and without accents; ``ß`` is ``ss``."""
    bare = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(each for each in bare if not unicodedata.combining(each))
    return unicodedata.normalize("NFC", bare)


@dataclass(frozen=True, slots=True)
class Term:
    """Folded words that stand side by side; with ``begins`` the last one may go on."""

    words: tuple[str, ...]
    begins: bool = False

    def for_fts5(self) -> str:
        """Return the term as SQLite's FTS5 is asked for it."""
        return f'"{" ".join(self.words)}"{"*" if self.begins else ""}'

    def for_tsquery(self) -> str:
        """Return the term as PostgreSQL's ``tsquery`` is written."""
        quoted = " <-> ".join(f"'{word}'" for word in self.words)
        return f"({quoted}:*)" if self.begins else f"({quoted})"

    def fits(self, last: str) -> bool:
        """Tell whether ``last``, a folded word, is the last one of the term."""
        return last.startswith(self.words[-1]) if self.begins else last == self.words[-1]
