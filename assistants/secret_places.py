"""Where a document has its secrets, and which ones a revision gets that is brought back.

Pure functions on parsed JSON beside ``voiceplatform.base.redaction``, which decides what a secret
is. Must not know revisions, files or the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assistants.diff import pairs
from voiceplatform.base.redaction import redact


def with_secrets_of(current: Any, old: Any) -> Any:
    """Return ``old`` with the secrets that ``current`` has in the same places.

    A revert brings back what an assistant says, not the keys to other people's servers: a secret
    that was replaced since stays replaced, one that was cleared stays cleared, one that was set
    stays set. A secret belongs to its address, though: below a ``url`` (or ``serverUrl``) that
    differs, and in a place that ``current`` lacks altogether, the old one comes back with it.
    """
    return _carried(old, redact(old), current, redact(current), moved=False)


def _carried(old: Any, old_shown: Any, current: Any, current_shown: Any, *, moved: bool) -> Any:
    if isinstance(old, str):
        is_same_place = not moved and old != old_shown and current_shown == old_shown
        return current if is_same_place and isinstance(current, str) else old
    if isinstance(old, list) and isinstance(current, list):
        partners = {after: before for before, after in pairs(current, old)}
        carried_list: list[Any] = []
        for index, child in enumerate(old):
            partner = partners.get(index)
            carried_list.append(
                child
                if partner is None
                else _carried(
                    child,
                    old_shown[index],
                    current[partner],
                    current_shown[partner],
                    moved=moved,
                )
            )
        return carried_list
    if not (isinstance(old, Mapping) and isinstance(current, Mapping)):
        return old
    moved = moved or old_shown.get("url") != current_shown.get("url")
    legacy_moved = moved or old_shown.get("serverUrl") != current_shown.get("serverUrl")
    carried: dict[str, Any] = {}
    for name, value in old.items():
        hidden = name not in old_shown or (name in current and name not in current_shown)
        if not hidden:
            carried[name] = (
                _carried(value, old_shown[name], current[name], current_shown[name], moved=moved)
                if name in current
                else value
            )
        elif legacy_moved if name == "serverUrlSecret" else moved:
            carried[name] = value
        elif name in current:
            carried[name] = current[name]
    for name in current:
        is_new_secret = name not in current_shown and name not in old
        if is_new_secret and not (legacy_moved if name == "serverUrlSecret" else moved):
            carried[name] = current[name]
    return carried
