"""Readers of both wire formats, the price list and plans, fed with anything."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.bridge.plan import CallPlan, Clip
from calls.bridge.transcript import heard_part
from calls.money.rates import PRICES, price_for, response_microusd
from calls.wire import realtime, twilio_media
from tests.property import frames

pytestmark = pytest.mark.property

texts = st.one_of(frames.garbage, frames.odd_events, frames.odd_messages, st.text())


@given(texts, st.sampled_from(["openai_ga", "azure_ga", "beta"]))
def test_realtime_frames_decode_or_are_refused(text: str, dialect: Any) -> None:
    try:
        kind, event = realtime.decode(text, dialect)
    except realtime.RealtimeWireError:
        return
    assert isinstance(kind, str)
    json.dumps(event, ensure_ascii=False).encode("utf-8")
    assert realtime.formats_are_mulaw(event, dialect) in (True, False)


@given(texts)
def test_twilio_messages_decode_or_are_refused(text: str) -> None:
    try:
        _, message = twilio_media.decode(text)
        for read, kind in (
            (twilio_media.start_of, twilio_media.Start),
            (twilio_media.media_payload, str),
            (twilio_media.mark_name, str),
        ):
            try:
                assert isinstance(read(message), kind)
            except twilio_media.TwilioWireError:
                continue
    except twilio_media.TwilioWireError:
        return


@given(frames.values)
def test_start_never_raises_anything_else(body: Any) -> None:
    start = {"streamSid": "MZ", "accountSid": "AC", "callSid": "CA", "mediaFormat": body}
    for message in (
        {"start": body},
        {"start": start},
        {"start": {**start, "customParameters": body}},
    ):
        try:
            assert isinstance(twilio_media.start_of(message), twilio_media.Start)
        except twilio_media.TwilioWireError:
            continue


@given(st.one_of(st.binary(max_size=60).map(lambda b: base64.b64encode(b).decode()), st.text()))
def test_a_payload_is_accepted_exactly_if_it_is_base64(payload: str) -> None:
    try:
        audio = base64.b64decode(payload, validate=True) if payload.isascii() else b""
    except ValueError:
        audio = b""
    try:
        size = twilio_media.payload_bytes(payload)
    except twilio_media.TwilioWireError:
        assert not audio
    else:
        assert size == len(audio)
        spliced = json.loads(realtime.append(payload))
        assert spliced["audio"] == payload
        assert json.loads(twilio_media.StreamWriter("MZ").media(payload))["media"] == {
            "payload": payload
        }


@given(st.text(), st.text())
def test_writers_quote_what_they_are_given(sid: str, name: str) -> None:
    writer = twilio_media.StreamWriter(sid)
    assert json.loads(writer.mark(name)) == {
        "event": "mark",
        "streamSid": sid,
        "mark": {"name": name},
    }
    assert json.loads(writer.clear()) == {"event": "clear", "streamSid": sid}


@given(st.text(), st.text())
def test_text_for_the_model_is_encodable_and_read_back(identifier: str, text: str) -> None:
    plain = realtime.plain(text)
    assert realtime.plain(plain) == plain
    said = realtime.function_output("out-1", identifier, plain)
    assert json.loads(said)["item"]["output"] == plain
    said.encode("utf-8")


@given(frames.values, st.sampled_from([*PRICES, "", "gpt-next"]))
def test_any_usage_costs_a_finite_amount(usage: Any, model: str) -> None:
    for value in (usage, {"input_token_details": usage, "output_token_details": usage}):
        if isinstance(value, dict):
            cost = response_microusd(value, price_for(model))
            assert cost >= 0
            assert math.isfinite(cost)


@given(st.text(max_size=60), st.integers(-5, 200), st.integers(-5, 200))
def test_the_heard_part_and_the_rest_make_the_text(text: str, heard: int, received: int) -> None:
    before, after = heard_part(text, heard, received)
    assert "".join((before + after).split()) == "".join(text.split())
    if received > 0:
        assert len(before) * received <= len(text) * max(0, heard) or heard >= received


@given(frames.plans())
def test_a_plan_survives_json(plan: CallPlan) -> None:
    assert CallPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert isinstance(plan.policy_line, Clip | None)
