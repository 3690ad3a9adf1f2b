"""Places in a tool's arguments that only its server may read: Vapi's ``encryptedPaths``.

Owns how such a path is written (vapi.md 2.5) and what stands in its place wherever people look.
Pure, standard library only; encrypting is ``tools.encryption``'s.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tools.loose_json import as_list, as_object, as_text
from tools.masking import MASK

Change = Callable[[Any], Any]

_MOST_PATHS: Final = 50
_LONGEST_PATH: Final = 300
_MOST_LEVELS: Final = 20
_STEP: Final = re.compile(r"\[(\d{1,4}|\*)\]|([^.\[\]]+)")
# A path may also be written from the root of Vapi's envelope.
_ENVELOPE: Final = re.compile(r"^.*\barguments\.(?=.)")
_EVERY: Final = "*"


def encrypted_paths(document: Any) -> tuple[str, ...]:
    """Return the paths of the arguments that a tool wants encrypted, each once."""
    whole = as_object(document)
    holder = whole if whole.get("type") == "apiRequest" else as_object(whole.get("server"))
    paths = (as_text(each) for each in as_list(holder.get("encryptedPaths")))
    usable = (path for path in paths if path and len(path) <= _LONGEST_PATH)
    return tuple(dict.fromkeys(usable))[:_MOST_PATHS]


def changed_at(arguments: Any, paths: Sequence[str], change: Change) -> Any:
    """Return ``arguments`` with each value at one of ``paths`` changed, once; others as they are.

    ``a.b``, ``a[0]``, ``a[*]``; of a list that no index is given for, every element.
    """
    tree: dict[str, Any] = {}
    for path in paths:
        found = _STEP.findall(_ENVELOPE.sub("", path).removeprefix("$"))
        _plant(tree, [index or name for index, name in found])
    return _changed(arguments, tree, change, _MOST_LEVELS) if tree else arguments


def _plant(tree: dict[str, Any], steps: Sequence[str]) -> None:
    """Enter a way into ``tree``; what ends is None, and whatever is below it is part of it."""
    node = tree
    for step in steps[:-1]:
        child = node.setdefault(step, {})
        if child is None:
            return
        node = child
    for step in steps[-1:]:
        node[step] = None


def _changed(value: Any, tree: Mapping[str, Any] | None, change: Change, levels: int) -> Any:
    if tree is None or not levels:
        return None if value is None else change(value)
    if isinstance(value, dict):
        return {
            name: _changed(child, tree[name], change, levels - 1) if name in tree else child
            for name, child in value.items()
        }
    if isinstance(value, list):
        if not any(step == _EVERY or step.isdigit() for step in tree):
            return [_changed(child, tree, change, levels - 1) for child in value]
        return [
            _changed(child, tree[step], change, levels - 1) if step in tree else child
            for at, child in enumerate(value)
            for step in (str(at) if str(at) in tree else _EVERY,)
        ]
    return value


def masked_arguments(arguments_json: str, paths: Sequence[str]) -> str:
    """Return a model's arguments for people; all of them are hidden where they are no JSON."""
    if not paths or not arguments_json.strip():
        return arguments_json
    try:
        value = json.loads(arguments_json)
    except (ValueError, RecursionError):
        return ""
    shown = changed_at(value, paths, lambda _: MASK)
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
