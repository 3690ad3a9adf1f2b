"""Places one call against a running server as Twilio would, and reads what was stored of it.

When the number's account points to a running stand-in of Twilio, that process places the call, so
that REST hang-ups reach it; otherwise a carrier runs in this process.
"""

from __future__ import annotations

import asyncio
import json
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from calls.models import Call, PhoneNumber
from calls.standins.scenario import Scenario, ScenarioError, load_scenario
from voiceplatform.base import http

SETTLE_SECONDS = 10.0
CALL_SECONDS = 900.0


class SimulationError(Exception):
    """The call could not be placed; the message names what to mend."""


def scenario_document(source: str) -> Any:
    """Return a shipped scenario's name or the document in a scenario file.

    Raises:
        SimulationError: there is no such scenario, or it cannot be read.
    """
    try:
        load_scenario(source)
    except ScenarioError as error:
        raise SimulationError(str(error)) from error
    path = Path(source)
    if path.suffix not in {".yaml", ".yml"}:
        return source
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def call_simulate(
    *, to: str, caller: str, base_url: str, scenario: str, answers: Sequence[str] = ()
) -> Iterator[Mapping[str, Any]]:
    """Place the call and yield its events; the last one has kind ``report``.

    Args:
        answers: what the caller gives when Twilio asks, in order: a key, words, or '' for nothing.

    Raises:
        SimulationError: unknown number, bad scenario or no server.
    """
    number = PhoneNumber.objects.select_related("twilio_account").filter(number_e164=to).first()
    if number is None:
        known = ", ".join(PhoneNumber.objects.values_list("number_e164", flat=True)[:5])
        raise SimulationError(f"there is no number {to}. Known: {known or 'none'}")
    account = number.twilio_account
    document = scenario_document(scenario)
    order = {
        "to": to,
        "from": caller,
        "voice_url": f"{base_url}/twilio/voice",
        "status_callback": f"{base_url}/twilio/status",
        "account_sid": account.account_sid,
        "auth_token": account.auth_token,
        "scenario": document,
        "answers": list(answers),
    }
    if account.api_base_url:
        events = _by_standin(account.api_base_url, order)
    else:
        events = _in_process(order, load_scenario(scenario), base_url)
    call_sid, is_marked = "", False
    for event in events:
        call_sid = call_sid or str(event.get("call_sid") or "")
        if call_sid and not is_marked:
            is_marked = _mark(call_sid)
        yield event


def _mark(call_sid: str) -> bool:
    """Mark the call as a test once its row is there, which its webhook makes."""
    return bool(Call.objects.filter(call_sid=call_sid).update(is_test=True))


def _by_standin(origin: str, order: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    try:
        with (
            http.client(read_seconds=CALL_SECONDS) as client,
            client.stream("POST", f"{origin}/standin/calls", json=dict(order)) as response,
        ):
            if response.status_code != 200:
                response.read()
                raise SimulationError(f"the stand-in answered {response.text[:300]}")
            for line in response.iter_lines():
                if line:
                    yield json.loads(line)
    except http.HTTPError as error:
        raise SimulationError(
            f"no stand-in answers at {origin}. Fix: start the platform with STANDINS=1."
        ) from error


def _in_process(
    order: Mapping[str, Any], scenario: Scenario, base_url: str
) -> Iterator[Mapping[str, Any]]:
    # Imported late: only this path needs the carrier's sockets.
    from calls.standins.twilio_carrier import Carrier
    from calls.standins.twilio_numbers import VoiceConfig

    events: queue.Queue[Mapping[str, Any]] = queue.Queue()

    async def place() -> None:
        carrier = Carrier(base_url, order["auth_token"], order["account_sid"])
        voice = VoiceConfig(voice_url=order["voice_url"], status_callback=order["status_callback"])
        try:
            call, task = carrier.start_call(
                order["to"], order["from"], voice, scenario, listener=events.put
            )
            call.gather_keys.extend(order["answers"])
            events.put({"kind": "call", "call_sid": call.call_sid})
            report = await task
        finally:
            await carrier.close()
        events.put({"kind": "report", **asdict(report)})

    worker = threading.Thread(target=lambda: asyncio.run(place()), daemon=True)
    worker.start()
    while True:
        try:
            event = events.get(timeout=1.0)
        except queue.Empty:
            if not worker.is_alive():
                raise SimulationError("the call broke off; see the traceback above") from None
            continue
        yield event
        if event["kind"] == "report":
            return


def call_stored(call_sid: str) -> Call | None:
    """Wait until the call's end and its last stream are stored; None if there is no row."""
    deadline = time.monotonic() + SETTLE_SECONDS
    call = Call.objects.filter(call_sid=call_sid).first()
    while (
        call is not None
        and (call.status != Call.Status.ENDED or call.report_due_at is not None)
        and time.monotonic() < deadline
    ):
        time.sleep(0.2)
        call.refresh_from_db()
    return call


def call_summary(call: Call) -> dict[str, Any]:
    """Return what was stored of a call, for people and programs."""
    return {
        "call_id": str(call.pk),
        "call_sid": call.call_sid,
        "status": call.status,
        "ended_reason": call.ended_reason,
        "consent": call.consent_state,
        "turns": [
            {
                "role": turn.role,
                "text": turn.text,
                "unheard": turn.text_unheard,
                "started_ms": turn.started_ms,
                "latency_ms": turn.latency_ms,
            }
            for turn in call.turns.order_by("ordinal")
        ],
        "tool_calls": [
            {
                "name": each.name,
                "arguments": each.arguments_json,
                "state": each.state,
                "output": each.output,
                "duration_ms": each.duration_ms,
            }
            for each in call.tool_invocations.order_by("started_ms", "pk")
        ],
        "first_word_ms": call.first_word_ms,
        "turn_latency_p50_ms": call.turn_latency_p50_ms,
        "turn_latency_p95_ms": call.turn_latency_p95_ms,
        "duration_seconds": call.duration_seconds,
        "cost_usd": float(call.cost_usd),
    }
