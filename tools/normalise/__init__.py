"""Makes any JSON Schema into one that a Realtime session takes, without narrowing it.

Owns the way from a tool as its author wrote it to the function that a model is offered
(vapi.md 9, traps 11, 13, 29 and 30; openai_realtime.md 2.1 and 6). Pure and total. What holds for
every schema: arguments that are valid for the original are valid for the result. What the result
cannot say goes into descriptions, and the original still judges what the model sends back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tools.normalise.reading import Note, Reader, TooMuch
from tools.normalise.shape import ARGUMENTS, Shape, meet, sentences
from tools.normalise.words import cut
from tools.normalise.writing import Writer

__all__ = ["MAX_TOOL_DESCRIPTION", "Function", "Normalised", "Note", "function_of", "normalise"]

MAX_TOOL_DESCRIPTION: Final = 1_024  # enforced on Chat Completions (openai_realtime.md 6)

_MAX_NAMES: Final = 100


@dataclass(frozen=True, slots=True)
class Normalised:
    """A schema for the session, ``type: object`` at the top, and what was lost on the way."""

    schema: dict[str, Any]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    """A tool as a session takes it."""

    description: str
    parameters: dict[str, Any]


def normalise(schema: Any) -> Normalised:
    """Return ``schema`` as a flat one with the same arguments; never raises, whatever it is.

    The result holds no reference, union, negation, list of types or null. Normalising it again
    changes nothing. Its size and depth are bounded; beyond that arguments stay allowed but unnamed.
    """
    if schema is None:
        return Normalised(_written(ARGUMENTS)[0])
    reader = Reader(schema)
    try:
        shape = meet(ARGUMENTS, reader.read())
        written, is_cut = _written(shape)
    except (TooMuch, RecursionError):
        note = Note((), "Too large; the model is told the names of the arguments and nothing else.")
        return Normalised(_written(_names_only(schema))[0], (note,))
    notes = tuple(reader.notes)
    if is_cut:
        notes += (Note((), "Too large; the model is not told of the last arguments."),)
    return Normalised(written, notes)


def function_of(description: str, schema: Any) -> Function:
    """Return a tool as a session takes it.

    What the schema says about all arguments together moves into the tool's description, which a
    model is sure to read; the author's text gives way where both do not fit 1,024 characters.
    """
    parameters = dict(normalise(schema).schema)
    about = parameters.pop("description", "")
    text = description.strip()
    if about:
        text = sentences(cut(text, MAX_TOOL_DESCRIPTION - len(about) - 2), about)
    return Function(cut(text, MAX_TOOL_DESCRIPTION), parameters)


def _written(shape: Shape) -> tuple[dict[str, Any], bool]:
    writer = Writer()
    return writer.write(shape), writer.is_cut


def _names_only(schema: Any) -> Shape:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    names = list(properties)[:_MAX_NAMES] if isinstance(properties, Mapping) else []
    return Shape(types=ARGUMENTS.types, properties=dict.fromkeys(names, Shape()))
