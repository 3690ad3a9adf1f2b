"""The reader of exported files: bytes in, the Vapi objects they hold out.

Owns encodings (UTF-8 and UTF-16 with and without byte order mark), JSON, front matter, envelopes
around objects, the state files of Vapi's config-as-code tool and the bounds of what is read (corpus
facts of 2026-11-22); what kind an object is, is ``assistants.kinds``' guess. YAML is parsed by the
function that is passed in. Pure and total: for any bytes it returns objects or a reason that a
person can act on, and never raises. It must not judge what an object says.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from assistants.kinds import Kind, folder_kind, kind_of, place_of

YamlParser = Callable[[str], Any]  # raises ValueError with a reason for a person

MAX_BYTES: Final = 10 * 1024 * 1024
MAX_DEPTH: Final = 60
MAX_NODES: Final = 300_000  # values in one file; an alias bomb in YAML has millions
MAX_CHARACTERS: Final = 2 * MAX_BYTES  # an alias may repeat one long text many times
JSON_SUFFIXES: Final = (".json", ".jsonl", ".ndjson")
YAML_SUFFIXES: Final = (".yaml", ".yml")
MARKDOWN_SUFFIXES: Final = (".md", ".markdown")
SUFFIXES: Final = (*JSON_SUFFIXES, *YAML_SUFFIXES, *MARKDOWN_SUFFIXES)

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8 with a byte order mark"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16 LE"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16 BE"),
)
_FRONT_MATTER: Final = re.compile(r"---[ \t]*\n(.*?)\n---[ \t]*(?:\n|$)", re.DOTALL)
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_$][\w$-]*")
_BIGGEST: Final = 2**63 - 1  # beyond it JSON readers disagree about the digits

_STATE_FILE: Final = re.compile(r"\.vapi-state\.([\w.-]+)\.json")
_STATE_KINDS: Final[Mapping[str, Kind]] = {
    "assistants": "assistant",
    "tools": "tool",
    "squads": "squad",
    "structuredOutputs": "structured-output",
    "evals": "eval",
    "personalities": "eval/simulation/personality",
    "scenarios": "eval/simulation/scenario",
    "simulations": "eval/simulation",
    "simulationSuites": "eval/simulation/suite",
}
_HTML: Final = re.compile(r"\s*(<!--.*?-->\s*)?<(!doctype html|html|head|body)\b", re.I | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Found:
    """One object of a file; ``where`` is its JSON path in there."""

    file: str
    where: str
    kind: Kind
    value: Mapping[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileReading:
    """What a file holds; ``problem`` says why nothing could be read, ``is_ours`` whether it
    claims to be an export at all (a README does not), ``values`` how many JSON values it has.

    A state file of Vapi's config-as-code tool holds no object: ``state_ids`` has Vapi's id of each
    (kind, path below the kind's folder) of the environment ``state_of``.
    """

    file: str
    found: tuple[Found, ...] = ()
    problem: str = ""
    is_ours: bool = True
    values: int = 0
    state_of: str = ""
    state_ids: Mapping[tuple[str, str], str] = field(default_factory=dict)


class _Unreadable(ValueError):
    """The file is no export; the text says why and what to do."""


def step(path: str, key: str | int) -> str:
    """Return the JSON path of a child."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if _PLAIN_KEY.fullmatch(key) else f"{path}[{json.dumps(key)}]"


def read_file(name: str, raw: bytes, parse_yaml: YamlParser) -> FileReading:
    """Read one file.

    Args:
        name: its path below the imported folder, with forward slashes; folder names such as
            ``tools`` tell what an object without other signs is.
        parse_yaml: returns the parsed document, or raises ValueError with a reason.
    """
    notes: list[str] = []
    state = is_state_file(name)
    try:
        text = _text_of(raw, notes)
        if _HTML.match(text[:2000]):
            raise _Unreadable(
                "a saved web page (HTML), not an export. Fix: export it with your Vapi key, as "
                "GET /assistant/{id} returns it"
            )
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in MARKDOWN_SUFFIXES and not _FRONT_MATTER.match(text):
            return FileReading(name, problem="Markdown without front matter", is_ours=False)
        value = _parsed(text, suffix, parse_yaml)
        count = _check_size(value)
        changed: list[str] = []
        value = _storable(value, changed)
        notes += _notes_on(changed)
    except _Unreadable as error:
        return FileReading(name, problem=str(error))
    if state:
        return FileReading(name, values=count, state_of=state, state_ids=_state_ids(value))
    found = [
        Found(name, where, kind, child, tuple(notes))
        for where, kind, child in _objects(value, "$", place_of(name)[0], 0)
    ]
    if found:
        return FileReading(name, tuple(found), values=count)
    return FileReading(
        name,
        problem="no assistant, tool, squad or phone number in it. Fix: export the object itself, "
        "as GET /assistant/{id} returns it",
        is_ours=False,
    )


def read_object(name: str, kind: Kind, value: Any) -> FileReading:
    """Read one object that is known to be of ``kind``, e.g. because its route says so."""
    if not isinstance(value, dict):
        return FileReading(name, problem=f"no object, but {type(value).__name__}")
    changed: list[str] = []
    try:
        count = _check_size(value)
        value = _storable(value, changed)
    except _Unreadable as error:
        return FileReading(name, problem=str(error))
    return FileReading(name, (Found(name, "$", kind, value, _notes_on(changed)),), values=count)


def _notes_on(changed: Sequence[str]) -> tuple[str, ...]:
    if not changed:
        return ()
    return (f"{len(changed)} values that no database stores were replaced",)


def is_state_file(name: str) -> str:
    """Return the environment whose state a file holds (``.vapi-state.dev.json``), ''."""
    match = _STATE_FILE.fullmatch(PurePosixPath(name).name)
    return match[1] if match else ""


def _state_ids(value: Any) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for section, kind in _STATE_KINDS.items():
        entries = value.get(section) if isinstance(value, dict) else None
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            object_id = entry.get("uuid") if isinstance(entry, dict) else entry
            if isinstance(object_id, str):
                found[kind, name] = object_id
    return found


def _text_of(raw: bytes, notes: list[str]) -> str:
    if len(raw) > MAX_BYTES:
        raise _Unreadable(f"over {MAX_BYTES // 2**20} MiB. Fix: split it into smaller files")
    encoding = "utf-8"
    for mark, name, words in _BOMS:
        if raw.startswith(mark):
            encoding, raw = name, raw[len(mark) :] if name == "utf-8" else raw
            notes.append(f"encoded as {words}")
            break
    else:
        # Half of the bytes of Latin text in UTF-16 are zero, and JSON starts with Latin text.
        if len(raw) >= 4 and raw[1] == 0 == raw[3]:
            encoding = "utf-16-le"
        elif len(raw) >= 4 and raw[0] == 0 == raw[2]:
            encoding = "utf-16-be"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise _Unreadable(
            f"not {encoding.upper()} text at byte {error.start}. Fix: save the file as UTF-8"
        ) from error
    text = text.replace("\r\n", "\n")
    if not text.strip():
        raise _Unreadable("the file is empty. Fix: export it again")
    return text


def _parsed(text: str, suffix: str, parse_yaml: YamlParser) -> Any:
    try:
        if suffix in YAML_SUFFIXES:
            return parse_yaml(text)
        if suffix in MARKDOWN_SUFFIXES:
            return _with_front_matter(text, parse_yaml)
        if suffix in (".jsonl", ".ndjson"):
            return [_json(line) for line in text.splitlines() if line.strip()]
        return _json(text)
    except json.JSONDecodeError as error:
        raise _Unreadable(
            f"not JSON: {error.msg} in line {error.lineno}, column {error.colno}. "
            "Fix: correct the file there or export it again"
        ) from error
    except ValueError as error:
        raise _Unreadable(str(error)[:300]) from error
    except RecursionError as error:
        raise _Unreadable("nested too deeply. Fix: export the object itself") from error


def _json(text: str) -> Any:
    return json.loads(text, parse_constant=_no_constant)


def _no_constant(name: str) -> Any:
    raise ValueError(f"not JSON: {name} is no JSON value. Fix: replace it by null or a number")


def _with_front_matter(text: str, parse_yaml: YamlParser) -> Any:
    """Read the front matter; the body is the first system message (Vapi's config as code)."""
    match = _FRONT_MATTER.match(text)
    document = parse_yaml(match[1]) if match else None
    body = text[match.end() :].strip() if match else ""
    if not isinstance(document, dict) or not body:
        return document
    model = document.get("model")
    model = dict(model) if isinstance(model, dict) else {"model": model} if model else {}
    messages = model.get("messages")
    system = [{"role": "system", "content": body}]
    # The body replaces system messages of the front matter, as in Vapi's tool.
    others = [
        each
        for each in (messages if isinstance(messages, list) else [])
        if not (isinstance(each, dict) and each.get("role") == "system")
    ]
    return document | {"model": model | {"messages": system + others}}


def _check_size(value: Any) -> int:
    """Count the values and refuse what no export is.

    The walk is a loop, since aliases may even make a circle.
    """
    level, count, depth, characters = [value], 0, 0, 0
    while level:
        count += len(level)
        depth += 1
        if depth > MAX_DEPTH:
            raise _Unreadable(f"nested over {MAX_DEPTH} levels. Fix: export the object itself")
        if count > MAX_NODES:
            raise _Unreadable(f"over {MAX_NODES} values in one file. Fix: split it")
        below: list[Any] = []
        for each in level:
            if isinstance(each, str):
                characters += len(each)
            elif isinstance(each, dict | list) and len(below) <= MAX_NODES:
                below.extend(each.values() if isinstance(each, dict) else each)
                if isinstance(each, dict):
                    characters += sum(len(key) for key in each if isinstance(key, str))
        if characters > MAX_CHARACTERS:
            raise _Unreadable(f"over {MAX_CHARACTERS} characters when read. Fix: split it")
        level = below
    return count


def _storable(value: Any, changed: list[str]) -> Any:
    """Return ``value`` as JSON that both databases store; ``changed`` collects what was altered."""
    if isinstance(value, dict):
        return {_key(key, changed): _storable(child, changed) for key, child in value.items()}
    if isinstance(value, list):
        return [_storable(child, changed) for child in value]
    if isinstance(value, str):
        clean = _UNSTORABLE.sub("\ufffd", value)
        if clean != value:
            changed.append(clean)
        return clean
    if isinstance(value, float) and not math.isfinite(value):
        changed.append("number")
        return None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _BIGGEST:
        changed.append("number")
        return float(value) if abs(value) < 10**300 else None
    return value


def _key(key: Any, changed: list[str]) -> str:
    if isinstance(key, str):
        return str(_storable(key, changed))
    return json.dumps(key)  # a YAML mapping may have numbers, true or null as keys


def _objects(
    value: Any, where: str, hint: Kind | None, level: int
) -> Iterator[tuple[str, Kind, dict[str, Any]]]:
    """Yield the objects in ``value``: itself, or what an envelope around them holds."""
    if isinstance(value, list):
        for index, child in enumerate(value):
            yield from _objects(child, step(where, index), hint, level + 1)
    if not isinstance(value, dict):
        return
    kind = kind_of(value, hint)
    if kind:
        yield where, kind, value
        return
    inner: list[tuple[str, Kind, dict[str, Any]]] = []
    if level < 6:
        for key, child in value.items():
            if isinstance(child, dict | list):
                below = folder_kind(key) or (hint if level or key == "results" else None)
                inner += _objects(child, step(where, key), below, level + 1)
    yield from inner
    if not inner and hint and isinstance(value.get("name"), str):
        yield where, hint if hint != "tool" else "unknown", value
