"""Calls heard again in which the old stack had misheard digits of a phone number, and calls in
which it had not: every planted error is listed, where it was made and with the second at which the
caller says the number, and nothing else is.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from calls.models import Call, ParityRun, Recording
from calls.services.replay_runs import rehear_play
from calls.standins.realtime_brain import CallTool, Part, Speak, Turn
from calls.standins.tones import encode, linear, silence
from tests import factories
from tests.drills.conftest import Tell
from tests.integration.parity.stand import connections, model

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db]
Count = Callable[[int, int], int]

CALLS = 200
STARTED = dt.datetime(2026, 11, 23, 15, tzinfo=dt.UTC)
# Of the stand-in's speech: two signs before the first letter, 20 ms each.
LETTER_SECONDS = 0.02
TALK = ("I would like a cleaning.", "On Friday, please.", "The morning would be best.")
FORMS = ("{0} {1} {2}", "{0}-{1}-{2}", "({0}) {1}-{2}")
NUMBER = re.compile(r"\(?\d{3}\)?[ -]\d{3}[ -]\d{4}")


class Books:
    """A model that books the number it has heard, and asks for one otherwise."""

    def reply(self, turn: Turn) -> list[Part]:
        if turn.outputs:
            return [Speak("Booked.")]
        found = NUMBER.search(turn.heard or "")
        if found is None:
            return [Speak("Which number may I take?")]
        return [CallTool("book", json.dumps({"phone": digits_of(found[0])}))]


@dataclass(frozen=True, slots=True)
class Planted:
    """A past call, what is wrong in its log, and the second at which its number begins."""

    call: Call
    said: str  # the digits
    wrong: dict[str, str]  # the digits of the log, by where: words, book.phone
    at_seconds: float


def digits_of(text: str) -> str:
    return "".join(sign for sign in text if sign.isdigit())


def misheard(digits: str, dice: random.Random) -> str:
    """Change one to three digits, none of which makes it a number of another form."""
    heard = list(digits)
    for place in dice.sample(range(3, 10), dice.randint(1, 3)):
        heard[place] = dice.choice([digit for digit in "23456789" if digit != heard[place]])
    return "".join(heard)


def written(digits: str, form: str) -> str:
    return form.format(digits[:3], digits[3:6], digits[6:])


def past_call(dice: random.Random) -> Planted:
    """Make a call of the old stack with its recording: talk, the number, a booking."""
    said = f"202{dice.randint(2, 9)}{dice.randint(0, 10**6 - 1):06d}"
    wrong = {
        where: misheard(said, dice)
        for where in dice.choice([(), ("words",), ("book.phone",), ("words", "book.phone")])
    }
    form = dice.choice(FORMS)
    call: Call = factories.make_imported_call(started_at=STARTED).call
    line, ordinal, at_seconds = silence(1_000), 0, 0.0
    talk = [*dice.sample(TALK, dice.randint(0, 3)), f"My number is {written(said, form)}, book it."]
    for text in talk:
        factories.make_turn(
            call, ordinal=ordinal, role="assistant", text="Yes?", started_ms=len(line) // 8 - 700
        )
        start_ms, sound = len(line) // 8, encode(text)
        is_last = text is talk[-1]
        told = text
        if is_last:
            at_seconds = start_ms / 1000 + (2 + NUMBER.search(text).start()) * LETTER_SECONDS  # type: ignore[union-attr]
            told = text.replace(written(said, form), written(wrong.get("words", said), form))
        end_ms = start_ms + len(sound) // 8
        factories.make_turn(
            call, ordinal=ordinal + 1, role="user", text=told, started_ms=start_ms, ended_ms=end_ms
        )
        line += sound + silence(dice.randint(1_000, 4_000))
        ordinal += 2
    factories.make_tool_invocation(
        call,
        name="book",
        arguments_json=json.dumps({"phone": wrong.get("book.phone", said)}),
        output="GB-1",
        started_ms=end_ms + 300,
    )
    factories.make_turn(
        call, ordinal=ordinal, role="assistant", text="Booked.", started_ms=end_ms + 900
    )
    factories.make_recording(call, sound=in_stereo(line), origin=Recording.Origin.LOG, offset_ms=0)
    return Planted(call, said, wrong, at_seconds)


def in_stereo(caller: bytes) -> bytes:
    agent = silence(len(caller) // 8)
    pairs = zip(caller, agent, strict=True)
    data = b"".join(struct.pack("<2h", linear(a), linear(b)) for a, b in pairs)
    form = struct.pack("<HHIIHH", 1, 2, 8_000, 32_000, 4, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data))
    return b"RIFF" + struct.pack("<I", len(body) + len(data)) + body + data


def run_to(url: str) -> ParityRun:
    parameters = {"type": "object", "properties": {"phone": {"type": "string"}}}
    tool = factories.make_tool(name="book", parameters=parameters)
    assistant = factories.make_assistant(tools=[tool])
    factories.make_connection(is_default=True, realtime_url=url, api_key="sk-standin")
    run: ParityRun = factories.make_run(
        assistant, kind="rehear", marks={"book": {"phone": "phone"}}, options={"pace": 50}
    )
    return run


def test_every_misheard_digit_is_listed_at_its_second_and_nothing_else(
    count: Count, tell: Tell
) -> None:
    calls, planted, listed = count(CALLS, 4), 0, 0
    with model(Books) as (_, url, port), connections() as reached:
        run = run_to(url)
        for seed in range(calls):
            past = past_call(random.Random(seed))
            pair = factories.make_parity_call(
                run,
                stack="direct",
                scenario=str(past.call.pk),
                source_call=past.call,
                document=None,
            )
            found: list[dict[str, Any]] = rehear_play(pair).extras["differences"]
            shown = {
                each["where"]: (digits_of(each["old"]), digits_of(each["new"])) for each in found
            }
            wanted = {where: (digits, past.said) for where, digits in past.wrong.items()}
            assert shown == wanted, f"seed {seed}"
            for each in found:
                start, end = each["start_seconds"], each["end_seconds"]
                assert start <= past.at_seconds <= end, f"seed {seed}: {each}"
            planted, listed = planted + len(wanted), listed + len(found)
    assert planted > 0
    # Whatever was played: the model was reached and nobody else.
    assert set(reached) == {("127.0.0.1", port)}
    tell(
        "calls heard again, phone digits planted wrong",
        f"{calls} calls, {planted} errors planted in words and arguments: {listed} listed, each "
        "with its second, and nothing else",
    )
