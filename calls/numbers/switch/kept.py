"""A move as JSON, so that it can be stored before each action and taken up by another process.

Pure. The text holds addresses with their tokens: whoever stores it seals it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from calls.numbers.switch.steps import Move, Step, Stop
from calls.numbers.switch.voice import UnreadableNumber, VoiceConfig, read

_VERSION: Final = 1


def as_json(move: Move) -> dict[str, Any]:
    """Return what ``from_json`` reads."""
    stop = move.stop
    return {
        "version": _VERSION,
        "direction": move.direction,
        "before": move.before.as_json(),
        "wanted": move.wanted.as_json(),
        "step": str(move.step),
        "looks": move.looks,
        "accepted": move.accepted,
        "first_call_sid": move.first_call_sid,
        "stop": stop
        and {
            "code": stop.code,
            "words": stop.words,
            "fields": list(stop.fields),
            "found": stop.found and stop.found.as_json(),
            "goes_on_at": stop.goes_on_at and str(stop.goes_on_at),
        },
    }


def from_json(value: Mapping[str, Any]) -> Move:
    """Return the move that ``as_json`` was made of.

    Raises:
        UnreadableNumber: it is none. Nothing may be written to Twilio from it.
    """
    try:
        if value["version"] != _VERSION:
            raise UnreadableNumber(f"this move has the version {value['version']}")
        stop = value["stop"]
        return Move(
            direction=value["direction"],
            before=_config(value["before"]),
            wanted=_config(value["wanted"]),
            step=Step(value["step"]),
            looks=int(value["looks"]),
            accepted=str(value["accepted"]),
            first_call_sid=str(value["first_call_sid"]),
            stop=None if stop is None else _stop(stop),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UnreadableNumber("this is no move of a number") from error


def _config(value: Mapping[str, Any]) -> VoiceConfig:
    return read(value)


def _stop(value: Mapping[str, Any]) -> Stop:
    found, goes_on_at = value["found"], value["goes_on_at"]
    return Stop(
        code=value["code"],
        words=str(value["words"]),
        fields=tuple(str(each) for each in value["fields"]),
        found=None if found is None else _config(found),
        goes_on_at=None if goes_on_at is None else Step(goes_on_at),
    )
