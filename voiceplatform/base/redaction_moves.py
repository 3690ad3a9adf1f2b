"""Finds secrets that a change would send to an address they were not entered for.

Owns the rule that a secret which somebody stored belongs to its server: whoever may write without
being able to read it must not learn it by naming a server of their own. What counts as a secret is
``voiceplatform.base.redaction``'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from voiceplatform.base.redaction import ROOT, Place, hidden_keys, partners, place_below
from voiceplatform.base.redaction_urls import url_origin

# What goes to the server that stands in `server` or `serverUrl` beside it; a `url` gets all.
_TO_SERVER: Final = frozenset(
    {"server", "serverUrlSecret", "headers", "parameters", "function", "body"}
)


class SecretMoved(Exception):
    """A stored secret would go to another server; whoever knows it sends it again."""


def moves_refuse(patch: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    """Refuse a ``patch`` of top-level fields that sends a secret of ``stored`` somewhere new.

    A secret that the patch itself gives, or clears with null, may go anywhere.

    Raises:
        SecretMoved: it names the first such secret.
    """
    found = next(_moved(dict(patch), dict(stored), ROOT, "", at_stake=False, is_top=True), None)
    if found is not None:
        raise SecretMoved(
            f"{found} was stored for another address. Fix: send it again together with the new "
            "address, or null to drop it."
        )


def _moved(
    sent: dict[str, Any],
    stored: dict[str, Any],
    place: Place,
    path: str,
    *,
    at_stake: bool,
    is_top: bool,
) -> Iterator[str]:
    """Yield the paths of secrets that ``sent`` does not mention and that would be kept.

    Args:
        at_stake: everything here goes to an address that is new.
        is_top: fields that are not sent stay, and not only their secrets.
    """
    hidden = hidden_keys(stored, place)
    is_new = {name: _is_new(sent, stored, name) for name in ("url", "serverUrl", "server")}
    all_of_it = at_stake or is_new["url"]
    to_server = is_new["serverUrl"] or is_new["server"]
    for name, value in stored.items():
        below = place_below(name, value, place)
        at = f"{path}.{name}" if path else name
        goes = all_of_it or (to_server and name in _TO_SERVER)
        if name in sent:
            yield from _within(sent[name], value, below, at, at_stake=goes)
        elif not goes:
            continue
        elif name in hidden:
            yield at
        elif is_top or name in ("headers", "server"):
            yield from _left(value, below, at)


def _within(sent: Any, stored: Any, place: Place, path: str, *, at_stake: bool) -> Iterator[str]:
    if isinstance(sent, dict) and isinstance(stored, dict):
        yield from _moved(sent, stored, place, path, at_stake=at_stake, is_top=False)
    elif isinstance(sent, list) and isinstance(stored, list):
        for index, (new, old) in enumerate(zip(sent, partners(sent, stored, place), strict=True)):
            yield from _within(new, old, place, f"{path}.{index}", at_stake=at_stake)


def _left(stored: Any, place: Place, path: str) -> Iterator[str]:
    """Yield every secret of a value that stays as it is."""
    if isinstance(stored, dict):
        yield from _moved({}, stored, place, path, at_stake=True, is_top=True)
    elif isinstance(stored, list):
        for index, node in enumerate(stored):
            yield from _left(node, place, f"{path}.{index}")


def _is_new(sent: dict[str, Any], stored: dict[str, Any], name: str) -> bool:
    """Tell whether ``sent`` gives an address at a host that ``stored`` does not name here."""
    new = _origin_at(sent, name)
    known = {_origin_at(stored, each) for each in ("url", "serverUrl", "server")}
    return new is not None and new not in known


def _origin_at(node: dict[str, Any], name: str) -> tuple[str, ...] | None:
    value = node.get(name)
    url = value.get("url") if isinstance(value, dict) else value
    return url_origin(url) if isinstance(url, str) and url else None
