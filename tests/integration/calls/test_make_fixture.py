"""``make_fixture``: a call becomes a test that passes, notices a change, and names nobody."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from calls.bridge.machine import CallBridge
from calls.media.database import in_database
from calls.services.journal import record_text
from calls.standins.scenario import parse_scenario
from tests import factories
from tests.integration.calls.rig import CALLER, Rig

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

QUESTION = "I am Ann Lee, ann.lee@example.com, card 4111 1111 1111 1111."
ANSWER = "Thank you Ann Lee."
SECRETS = ("Ann", "Lee", "ann.lee", "example.com", "4111", CALLER, "front desk")
SCENARIO = parse_scenario(
    {
        "name": "personal",
        "caller": [{"say": QUESTION, "after": "greeting"}, {"hang_up": {"heard": ANSWER}}],
        "brain": {"rules": [{"when": QUESTION, "say": ANSWER}]},
    }
)


def _make(call_id: object, out: Path) -> list[Path]:
    printed = io.StringIO()
    call_command("make_fixture", str(call_id), "--out", str(out), stdout=printed)
    return [Path(line) for line in printed.getvalue().splitlines()]


def _loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_a_recorded_call_becomes_a_test_that_names_nobody(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.call(SCENARIO)
    call = await rig.only_call()
    recorded = await in_database(record_text, str(call.pk), 1)
    assert "Ann Lee" in recorded
    module_path, data_path = await in_database(_make, call.pk, tmp_path)
    text = data_path.read_text("utf-8")
    for secret in SECRETS:
        assert secret not in text, secret
    assert call.call_sid not in text
    assert rig.account_sid not in text
    # An erasure finds both files by the call.
    for path in (module_path, data_path):
        assert f"call_id={call.pk}" in path.read_text("utf-8")
    module: Any = _loaded(module_path)
    (stream,) = json.loads(text)["streams"]
    module.test_the_bridge_answers_as_it_did(stream)
    # It notices a bridge that keeps a word from the caller.
    receive = CallBridge.receive_realtime

    def mutant(self: CallBridge, frame: str, now_ms: int, **options: Any) -> None:
        if "response.output_audio.delta" not in frame:
            receive(self, frame, now_ms, **options)

    monkeypatch.setattr(CallBridge, "receive_realtime", mutant)
    with pytest.raises(AssertionError):
        module.test_the_bridge_answers_as_it_did(stream)
    # And of a bridge that answers otherwise today no test is made.
    with pytest.raises(CommandError, match="otherwise"):
        await in_database(_make, call.pk, tmp_path)


def test_a_call_without_a_record_is_refused(tmp_path: Path) -> None:
    call = factories.make_call()
    with pytest.raises(CommandError, match="no recorded inputs"):
        _make(call.pk, tmp_path)
    assert list(tmp_path.iterdir()) == []
