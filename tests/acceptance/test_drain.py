"""SIGTERM with a live call: nothing new is taken, what is on ends by itself (T30)."""

from __future__ import annotations

import json
import os
import signal

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from calls.standins.server import DEFAULT_AUTH_TOKEN
from calls.standins.twilio_webhook import signature_of
from tests.acceptance.calls_rig import LONG, CallsRig, stream_path
from tests.platform import Platform, alive, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]


def _rig(platform: Platform) -> CallsRig:
    return CallsRig(platform.base_url, platform.var_dir / "db.sqlite3")


def _draining(platform: Platform) -> bool:
    status, body = platform.get("/readyz")
    return status == 503 and json.loads(body)["draining"]


def assert_sigterm_lets_the_live_call_end(platform: Platform) -> None:
    """End an instance by SIGTERM during a call: nothing new is taken, the call ends by itself."""
    rig = _rig(platform)
    waiting = {"CallSid": "CA" + "1" * 32, "From": "+15550107777", "To": "+15550100001"}
    path = stream_path(rig.answer("/twilio/voice", waiting))
    live = rig.place(LONG)
    live.wait("heard", "first answer")
    platform.pids()
    platform.process.send_signal(signal.SIGTERM)
    wait_until(lambda: _draining(platform), what="the drain", seconds=5)
    assert rig.post("/twilio/voice", waiting | {"CallSid": "CA" + "2" * 32}) == 503
    url = platform.websocket_url + path
    with pytest.raises(InvalidStatus) as refused:
        signature = signature_of(url, {}, DEFAULT_AUTH_TOKEN)
        connect(url, additional_headers={"x-twilio-signature": signature}, proxy=None)
    assert refused.value.response.status_code == 403
    # Callbacks of calls that are on still count.
    assert rig.post("/twilio/status", waiting | {"CallStatus": "completed"}) == 204
    assert platform.process.poll() is None
    # The stand-ins are a part of this instance and end with it: their report may be cut short.
    live.wait("heard", "Goodbye then")
    assert platform.process.wait(30) == 0
    row = rig.call(live.call_sid)
    assert (row["status"], row["ended_reason"]) == ("ended", "customer-ended-call")
    assert ("assistant", "Goodbye then.") in rig.spoken(live)
    assert rig.query("SELECT 1 FROM calls_call WHERE call_sid = ?", "CA" + "2" * 32) == []
    platform.assert_nothing_left()


def test_t30_a_second_sigterm_to_media_hands_the_live_call_to_its_successor(
    shared_platform: Platform,
) -> None:
    platform = shared_platform
    rig = _rig(platform)
    live = rig.place(LONG)
    live.wait("heard", "first answer")
    media = platform.kill("media", signal.SIGTERM)
    wait_until(lambda: _draining(platform), what="the drain", seconds=5)
    os.kill(media, signal.SIGTERM)
    wait_until(lambda: not alive(media), what="the end of the old media process", seconds=5)
    # The action URL, answered by the successor, resumes the caller.
    report = live.report()
    assert report["failures"] == [], report
    # Two streams, or three where the successor takes longer to start than a handshake may.
    assert report["streams"] in {2, 3}, report
    row = rig.ended(live, streams=2)
    assert [each["ended"] for each in row["metrics"]["streams"]] == [
        "worker-shutdown",
        "customer-ended-call",
    ]
    assert row["ended_reason"] == "customer-ended-call"
    assert '"reason": "exit code 0"' in platform.output()
    assert rig.spoken(live)[-1] == ("assistant", "Goodbye then.")
