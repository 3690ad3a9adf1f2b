"""Calls placed against a platform that runs as processes: by the stand-ins' own HTTP interface,
looked at through the instance's database file.
"""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from calls.services.seed import STANDIN_NUMBER
from calls.standins.server import DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN
from calls.standins.twilio_webhook import signature_of
from tests.platform import wait_until

POLICY_LINE = "You are talking to an automated assistant. This call may be recorded."
CALLER = "+15550107777"
# Long enough to be killed in the middle of: four exchanges, then the caller hangs up. The caller
# goes on after whatever the agent says, because a model that resumes may take up an old answer.
LONG: dict[str, Any] = {
    "name": "long",
    "caller": [
        {"say": "First question.", "after": "greeting"},
        {"say": "Second question.", "after": "greeting"},
        {"say": "Third question.", "after": "greeting"},
        {"say": "Thank you.", "after": "greeting"},
        {"hang_up": {"heard": "Goodbye then"}},
    ],
    "brain": {
        "rules": [
            {"when": "First question", "say": "Here is the first answer for you."},
            {"when": "Second question", "say": "Here is the second answer for you."},
            {"when": "Third question", "say": "Here is the third answer for you."},
            {"when": "Thank you", "say": "Goodbye then."},
        ]
    },
    "expect": {
        "agent_says": ["first answer", "second answer", "third answer", "Goodbye then"],
        "ended_by": "caller",
    },
}


@dataclass
class PlacedCall:
    """A call in progress at the stand-in, read in a thread of its own."""

    events: list[dict[str, Any]] = field(default_factory=list)
    thread: threading.Thread | None = None

    @property
    def call_sid(self) -> str:
        """Twilio's id of the call."""
        wait_until(lambda: self.events, what="the call's first event")
        return str(self.events[0]["call_sid"])

    def said(self, kind: str) -> list[str]:
        """Return the texts of one kind of event so far: heard, cut, said, say."""
        return [event["text"] for event in list(self.events) if event["kind"] == kind]

    def wait(self, kind: str, text: str = "", seconds: float = 40.0) -> None:
        """Wait until an event of a kind, holding a text, has come."""
        wait_until(
            lambda: any(
                event["kind"] == kind and text in str(event) for event in list(self.events)
            ),
            what=f"{kind} {text!r} in {[(e['kind'], e.get('text', '')) for e in self.events]}",
            seconds=seconds,
        )

    def report(self, seconds: float = 60.0) -> dict[str, Any]:
        """Wait for the end and return Twilio's report."""
        assert self.thread is not None
        self.thread.join(seconds)
        assert self.events, "the stand-in answered nothing"
        assert self.events[-1]["kind"] == "report", self.events[-3:]
        return self.events[-1]


@dataclass
class CallsRig:
    """One running instance, its stand-ins and its database file."""

    base_url: str
    database: Path

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Read rows of the instance's database."""
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=20) as connection:
            return connection.execute(sql, values).fetchall()

    @property
    def standins_url(self) -> str:
        """Where the stand-ins of this instance listen."""
        sql = "SELECT api_base_url FROM calls_twilioaccount WHERE account_sid = ?"
        return str(self.query(sql, DEFAULT_ACCOUNT_SID)[0][0])

    def place(self, scenario: str | dict[str, Any] = "hello") -> PlacedCall:
        """Place a call without waiting for it."""
        body = {
            "to": STANDIN_NUMBER,
            "from": CALLER,
            "scenario": scenario,
            "voice_url": f"{self.base_url}/twilio/voice",
            "status_callback": f"{self.base_url}/twilio/status",
        }
        request = urllib.request.Request(  # noqa: S310 - http to ourselves
            f"{self.standins_url}/standin/calls", data=json.dumps(body).encode()
        )
        placed = PlacedCall()

        def read() -> None:
            with urllib.request.urlopen(request, timeout=90) as response:  # noqa: S310 - as above
                for line in response:
                    placed.events.append(json.loads(line))

        placed.thread = threading.Thread(target=read, daemon=True)
        placed.thread.start()
        return placed

    def call(self, call_sid: str) -> dict[str, Any]:
        """Return a call's row."""
        names = (
            "id status ended_reason next_step stream_count duration_seconds metrics "
            "first_word_ms turn_latency_p50_ms turn_latency_p95_ms policy_played_at"
        ).split()
        sql = f"SELECT {', '.join(names)} FROM calls_call WHERE call_sid = ?"  # noqa: S608 - own
        (row,) = self.query(sql, call_sid)
        found = dict(zip(names, row, strict=True))
        return found | {key: json.loads(found[key]) for key in ("next_step", "metrics")}

    def ended(self, placed: PlacedCall, *, streams: int | None = None) -> dict[str, Any]:
        """Wait until a call is stored as ended with what its streams measured, return its row."""

        def stored() -> bool:
            row = self.call(placed.call_sid)
            reported = len(row["metrics"].get("streams", []))
            return row["status"] == "ended" and reported >= (streams or 1)

        wait_until(stored, what=f"the end of {placed.call_sid}")
        return self.call(placed.call_sid)

    def spoken(self, placed: PlacedCall) -> list[tuple[str, str]]:
        """Return (role, text) of the stored transcript; its ordinals have no gap."""
        sql = (
            "SELECT ordinal, role, text FROM calls_turn t JOIN calls_call c ON c.id = t.call_id "
            "WHERE c.call_sid = ? ORDER BY ordinal"
        )
        rows = self.query(sql, placed.call_sid)
        assert [row[0] for row in rows] == list(range(len(rows)))
        return [(role, text) for _, role, text in rows if text]

    def post(self, path: str, form: dict[str, str]) -> int:
        """POST a signed webhook of the stand-in's account; return the status."""
        return self._send(path, form)[0]

    def answer(self, path: str, form: dict[str, str]) -> str:
        """POST a signed webhook; return the body."""
        return self._send(path, form)[1]

    def _send(self, path: str, form: dict[str, str]) -> tuple[int, str]:
        url = self.base_url + path
        form = {"AccountSid": DEFAULT_ACCOUNT_SID, **form}
        request = urllib.request.Request(  # noqa: S310 - http to ourselves
            url,
            data=urllib.parse.urlencode(form).encode(),
            headers={"X-Twilio-Signature": signature_of(url, form, DEFAULT_AUTH_TOKEN)},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - as above
                return int(response.status), response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return int(error.code), error.read().decode()


def stream_path(twiml: str) -> str:
    """Return the path of the stream in a TwiML document."""
    found = re.search(r'<Stream [^>]*url="ws://[^/]+(/[^"]+)"', twiml)
    assert found is not None
    return found.group(1)


def assert_no_traceback(output: str) -> None:
    """Fail when a log holds a traceback."""
    assert "Traceback" not in output, output[output.index("Traceback") - 300 :][:3000]


Start = Callable[..., Any]
