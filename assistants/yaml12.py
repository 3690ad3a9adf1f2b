"""YAML by the rules of version 1.2 (core schema), as Vapi's own config-as-code tool reads it.

Owns which plain words are not text: only true, false, null and numbers. `on`, `yes` and dates stay
text, so the key `on` of a hook is no boolean (corpus, surprise 14). Tags are not obeyed.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode


class _Loader(yaml.SafeLoader):
    """A loader with the resolver and the constructors of the core schema only."""


# Emptied before anything is added, because pyyaml would copy the rules of version 1.1.
_Loader.yaml_implicit_resolvers = {}
_Loader.yaml_constructors = {}


class _UniqueLoader(_Loader):
    """The same, for files that people write by hand: a key that is there twice is a mistake."""


class KeyRepeated(ValueError):
    """A mapping has a key twice; the text names the key and the line."""


class _Repeated(yaml.constructor.ConstructorError):
    pass


def _scalar(loader: _Loader, node: Node) -> Any:
    assert isinstance(node, ScalarNode)
    text: str = node.value
    kind = node.tag.rpartition(":")[2]
    if kind == "null" and text.lower() in ("", "~", "null"):
        return None
    if kind == "bool" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind == "int" and re.fullmatch(r"0o[0-7]+|0x[0-9a-fA-F]+|[-+]?[0-9]+", text):
        return int(text, 0) if text.startswith(("0o", "0x")) else int(text)
    if kind == "float" and re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?\d+)?", text):
        return float(text)
    return text


def _any(loader: _Loader, node: Node) -> Any:
    if isinstance(node, SequenceNode):
        return loader.construct_yaml_seq(node)
    if isinstance(node, MappingNode):
        return _mapping(loader, node)
    return _scalar(loader, node)


def _mapping(loader: _Loader, node: MappingNode) -> Any:
    """Build a dict; a key that is no scalar is an error for the reader of the file."""
    data: dict[Any, Any] = {}
    yield data
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(
                None, None, "a key is a list or a mapping", key_node.start_mark
            )
        if key in data and isinstance(loader, _UniqueLoader):
            words = f"the key {str(key)[:60]!r} is there twice"
            raise _Repeated(None, None, words, key_node.start_mark)
        data[key] = loader.construct_object(value_node, deep=True)


_Loader.add_constructor(None, _any)
for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_kind}",
        re.compile(f"^(?:{_pattern})$"),
        [*_first, ""] if _kind == "null" else list(_first),
    )


def parse_yaml(text: str) -> Any:
    """Return the document in ``text``, a list when it holds several. Of a key twice the last holds.

    Raises:
        ValueError: not YAML; the text names the line and what to do.
    """
    documents = parse_documents(text)
    return documents[0] if len(documents) == 1 else documents


def parse_documents(text: str, *, refuses_repeats: bool = False) -> list[Any]:
    """Return the documents in ``text`` but for empty ones.

    Raises:
        KeyRepeated: a mapping has a key twice, where that is refused.
        ValueError: not YAML; the text names the line and what to do.
    """
    try:
        loader = _UniqueLoader if refuses_repeats else _Loader
        return [each for each in yaml.load_all(text, Loader=loader) if each is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        if isinstance(error, _Repeated):
            raise KeyRepeated(f"{error.problem}{place}") from error
        raise ValueError(f"not YAML: {error.problem or 'cannot be read'}{place}") from error
    except yaml.YAMLError as error:
        raise ValueError("not YAML: a character that YAML does not allow") from error
