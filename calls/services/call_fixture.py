"""Turns a recorded call into a test: its inputs, redacted, and what the bridge makes of them.

Whatever is not known to be protocol is replaced: words by others of the same length, digits by
digits, audio by silence of the same size. The same word becomes the same word, so that phrases
still match, by a key that nobody keeps. The outputs are those of a replay of the redacted inputs,
and must have the shape of the recorded ones; a redaction that changes the call is not handed out.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import string
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from django.db import transaction

from calls.media.recording import (
    CONTROL,
    OUT_EFFECT,
    PLAN,
    REALTIME,
    TOOL,
    TRUNCATED,
    TWILIO,
    plan_of,
    records,
    replay,
    without_audio,
)
from calls.models import Call, CallInputChunk
from calls.services.journal import record_text

_ATTEMPTS: Final = 20
_WORD: Final = re.compile(r"\w+")
_SIZE: Final = re.compile(r"#\d+").fullmatch
_MARK: Final = re.compile(r"g\d+:\d+").fullmatch  # the bridge's own names of marks
_JSON_WORDS: Final = frozenset({"true", "false", "null"})
# Protocol, not content: names of messages, ids of the provider, choices of our own.
_KEPT: Final = frozenset(
    {
        *("type", "event", "event_id", "previous_item_id", "item_id", "response_id", "id"),
        *("call_id", "tool_call_id", "object", "status", "role", "purpose", "kind", "mode"),
        *("dialect", "model", "voice", "eagerness", "transcription_model", "noise_reduction"),
        *("reasoning_effort", "language", "languages", "since", "sequenceNumber", "timestamp"),
        *("chunk", "track", "tracks", "encoding", "outcome", "on_refusal", "on_emergency"),
        *("code", "reason", "resume_reason", "protocol", "version", "param", "required"),
        *("conversation_id", "output_modalities", "modalities", "tool_choice", "delimiters"),
        "tells",
    }
)
_AUDIO: Final = frozenset({"payload", "delta", "audio"})
_TEST: Final = '''"""A recorded call, redacted, run through today's bridge; by ``make_fixture``.

erase-marker: call_id={call_id}
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from calls.media.recording import replay

pytestmark = pytest.mark.unit

STREAMS = json.loads(Path(__file__).with_name("{data}").read_text("utf-8"))["streams"]


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: f"stream-{{stream['number']}}")
def test_the_bridge_answers_as_it_did(stream: dict[str, str]) -> None:
    assert replay(stream["record"]) == stream["record"]
'''


class FixtureRefused(Exception):
    """No test can be made of this call; the text says why."""


def call_fixture(call: Call, folder: Path) -> tuple[Path, Path]:
    """Write the test module and its data file; return both paths.

    Raises:
        FixtureRefused: nothing was recorded, the record was cut or is of another version, or the
            bridge of today does something else already.
    """
    numbers = CallInputChunk.objects.filter(call=call).order_by("stream_number")
    streams = [
        {"number": number, "record": redacted_record(record_text(str(call.pk), number))}
        for number in numbers.values_list("stream_number", flat=True).distinct()
    ]
    if not streams:
        raise FixtureRefused("this call has no recorded inputs")
    stem = f"test_call_{call.pk.hex[:12]}"
    module, data = folder / f"{stem}.py", folder / f"{stem}.json"
    folder.mkdir(parents=True, exist_ok=True)
    body = {"erase_marker": f"call_id={call.pk}", "call_id": str(call.pk), "streams": streams}
    data.write_text(json.dumps(body, ensure_ascii=True, indent=1) + "\n", encoding="utf-8")
    module.write_text(_TEST.format(call_id=call.pk, data=data.name), encoding="utf-8")
    return module, data


def fixture_noted(call: Call, paths: Iterable[Path]) -> None:
    """Note with ``call`` which files were made of it: its erasure deletes them."""
    with transaction.atomic():
        row = Call.objects.select_for_update().only("metrics").get(pk=call.pk)
        known = row.metrics.get("fixtures", [])
        made = [str(path.resolve()) for path in paths]
        row.metrics = {**row.metrics, "fixtures": list(dict.fromkeys([*known, *made]))}
        row.save(update_fields=["metrics"])


def redacted_record(recorded: str) -> str:
    """Return a whole record, inputs redacted and outputs made anew.

    Raises:
        FixtureRefused: as ``call_fixture``.
    """
    try:
        if replay(recorded) != recorded:
            raise FixtureRefused("the bridge of today answers this call otherwise; see replay_call")
        if any(kind == TRUNCATED for kind, _, _ in records(recorded)):
            raise FixtureRefused("the record was cut because the call was too long")
        wanted = _shape(recorded)
        # Two words may become one, which can change what happens: then another key is tried.
        for _ in range(_ATTEMPTS):
            made = replay(_Redaction(recorded, secrets.token_bytes(16)).text())
            if _shape(made) == wanted:
                return made
    except (KeyError, TypeError, ValueError) as error:
        raise FixtureRefused(f"it was recorded by another version ({error})") from error
    raise FixtureRefused("redaction changes what happens in this call")


def _shape(text: str) -> list[tuple[str, int, str]]:
    """Return kinds and times, with the type of each message and effect."""
    shape = []
    for kind, now_ms, body in records(text):
        name = ""
        if kind == OUT_EFFECT:
            name = str(json.loads(body)["effect"])
        elif kind[:1] in "tr":
            found = re.match(r'\{"(?:type|event)": ?"([\w.]+)"', body)
            name = found[1] if found else ""
        shape.append((kind, now_ms, name))
    return shape


class _Redaction:
    """One pass over one record with one key."""

    def __init__(self, recorded: str, key: bytes) -> None:
        self._recorded, self._key = recorded, key
        plan, _ = plan_of(recorded)
        self._names = {tool.name for tool in plan.tools}
        self._sids = {each: self._sid(each) for each in (plan.call_sid, plan.account_sid) if each}
        for each in re.findall(r'"streamSid": ?"([^"]+)"', recorded):
            self._sids[each] = self._sid(each)

    def text(self) -> str:
        """Return the redacted inputs as a record."""
        parts = []
        for kind, now_ms, body in records(self._recorded):
            if kind == PLAN:
                body = self._plan(body)
            elif kind[:1] in (TWILIO, REALTIME):
                body = self._message(body)
            elif kind[:1] in (TOOL, CONTROL):
                body = json.dumps(self._walk(json.loads(body), ""))
            elif kind[:1] in "tre":
                continue
            parts.append(f"{kind} {now_ms} {len(body)}\n{body}\n")
        return "".join(parts)

    def _plan(self, body: str) -> str:
        header = json.loads(body)
        plan = self._walk(header["plan"], "")
        return json.dumps({"keep_audio": False, "plan": plan}, separators=(",", ":"))

    def _message(self, body: str) -> str:
        bare = without_audio(body)
        if '"#' in bare:
            return self._with_sids(bare)  # audio and ids, nothing else
        try:
            value = json.loads(bare)
        except (ValueError, RecursionError):
            return self._words(bare)
        return json.dumps(self._walk(value, ""), separators=(",", ":"))

    def _walk(self, node: Any, name: str) -> Any:
        if isinstance(node, dict):
            # Parameters are named by whoever wrote the TwiML: no name of them is protocol.
            own = name == "customParameters"
            return {key: self._walk(value, "" if own else key) for key, value in node.items()}
        if isinstance(node, list):
            if name == "payloads":
                return [self._silence(each) for each in node]
            return [self._walk(each, name) for each in node]
        if not isinstance(node, str) or not node:
            return node
        if node in self._sids:
            return self._sids[node]
        if name in _KEPT or node in self._names or (name in _AUDIO and _SIZE(node)):
            return node
        if name == "name" and _MARK(node):
            return node
        return self._words(node)

    @staticmethod
    def _silence(payload: str) -> str:
        return base64.b64encode(b"\xff" * len(base64.b64decode(payload))).decode()

    def _words(self, text: str) -> str:
        return _WORD.sub(lambda found: self._word(found[0]), text)

    def _word(self, word: str) -> str:
        if word in _JSON_WORDS:
            return word
        digest = b""
        while len(digest) < len(word):
            seed = f"{len(digest)}:{word.casefold()}".encode("utf-8", "surrogatepass")
            digest += hmac.new(self._key, seed, hashlib.sha256).digest()
        made = [
            str(byte % 9 + 1) if old.isdecimal() else string.ascii_lowercase[byte % 26]
            for old, byte in zip(word, digest, strict=False)
        ]
        return "".join(
            new.upper() if old.isupper() else new for old, new in zip(word, made, strict=True)
        )

    def _sid(self, sid: str) -> str:
        digest = hmac.new(self._key, sid.encode(), hashlib.sha256).hexdigest()
        return (sid[:2] + digest * (len(sid) // 64 + 1))[: len(sid)]

    def _with_sids(self, text: str) -> str:
        for old, new in self._sids.items():
            text = text.replace(old, new)
        return text
