"""Measures as JSON, and back.

Pure. Owns the stored form, which carries a version: what a later version of the software wrote is
refused in words and never guessed at. It holds no value of an argument (``measures`` has none), so
it may lie unsealed and be exported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final, get_args

from calls.parity.measures import (
    Gate,
    GateName,
    Measures,
    ScenarioLine,
    Share,
    ToolLine,
    WorstPair,
)
from calls.parity.noise import NoiseFloor
from calls.parity.procedure import State, Verdict

VERSION: Final = 1


class MeasuresUnreadable(ValueError):
    """What is stored of measures cannot be read; the text says why and what to do."""


def measures_stored(measures: Measures) -> dict[str, Any]:
    """Return measures as JSON, with sentences for those who read the export."""
    stored = dataclasses.asdict(measures)
    for gate, written in zip(measures.gates, stored["gates"], strict=True):
        written["words"] = gate.words()
    return {"version": VERSION, **stored}


def measures_read(stored: Any) -> Measures:
    """Return the measures that ``measures_stored`` wrote.

    Raises:
        MeasuresUnreadable: another version wrote it, or something is missing or broken.
    """
    if not isinstance(stored, Mapping) or stored.get("version") != VERSION:
        found = stored.get("version") if isinstance(stored, Mapping) else None
        raise MeasuresUnreadable(
            f"these measures were stored as version {found}, this software reads {VERSION}. "
            "Fix: run the version of the software that wrote them, or measure the run again."
        )
    try:
        return _measures(stored)
    except (KeyError, TypeError, ValueError) as error:
        raise MeasuresUnreadable(
            f"these stored measures are broken ({type(error).__name__}: {error}). "
            "Fix: measure the run again."
        ) from error


def _measures(stored: Mapping[str, Any]) -> Measures:
    noise = stored["noise"]
    return Measures(
        verdict=_state(stored["verdict"]),
        gates=tuple(_gate(each) for each in stored["gates"]),
        pairs=int(stored["pairs"]),
        audio_pairs=int(stored["audio_pairs"]),
        cut=int(stored["cut"]),
        empty=int(stored["empty"]),
        omitted=int(stored["omitted"]),
        extra=int(stored["extra"]),
        reordered=int(stored["reordered"]),
        retries=(int(stored["retries"][0]), int(stored["retries"][1])),
        tools=tuple(
            ToolLine(
                **{
                    **each,
                    "drift": Share(**each["drift"]),
                    "fields": Share(**each["fields"]),
                }
            )
            for each in stored["tools"]
        ),
        scenarios=tuple(
            ScenarioLine(**{**each, "drift": Share(**each["drift"])})
            for each in stored["scenarios"]
        ),
        worst=tuple(_worst(each) for each in stored["worst"]),
        noise=None if noise is None else NoiseFloor(**noise),
    )


def _gate(stored: Mapping[str, Any]) -> Gate:
    name = stored["name"]
    if name not in get_args(GateName):
        raise ValueError(f"{name!r} is no gate")
    verdict = Verdict(**stored["verdict"])
    _state(verdict.state)
    return Gate(
        name=name,
        verdict=verdict,
        failed_pairs=int(stored["failed_pairs"]),
        pairs=int(stored["pairs"]),
        applies=bool(stored["applies"]),
    )


def _worst(stored: Mapping[str, Any]) -> WorstPair:
    return WorstPair(
        index=int(stored["index"]),
        scenario=str(stored["scenario"]),
        old_key=str(stored["old_key"]),
        new_key=str(stored["new_key"]),
        differences=int(stored["differences"]),
        omitted=tuple(map(str, stored["omitted"])),
        extra=tuple(map(str, stored["extra"])),
        reordered=tuple(map(str, stored["reordered"])),
        fields=tuple(map(str, stored["fields"])),
        outcome=tuple(map(str, stored["outcome"])),
    )


def _state(value: Any) -> State:
    if value not in get_args(State):
        raise ValueError(f"{value!r} is no verdict")
    state: State = value
    return state
