"""``live_check``: each question once, the answer or why it was not asked, and honest exit codes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from calls.doctor import live
from calls.doctor.connection_test import plain_session
from calls.media.database import in_database
from calls.models import ProviderConnection
from calls.services import seed
from tests import factories
from tests.integration.calls.rig import Rig

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]


def _run(*options: str) -> tuple[int, dict[str, Any]]:
    out = io.StringIO()
    code = 0
    try:
        call_command("live_check", "--json", *options, stdout=out, stderr=io.StringIO())
    except SystemExit as end:
        code = int(str(end.code))
    return code, json.loads(out.getvalue())


async def test_against_the_stand_ins_it_asks_and_says_who_answered(
    rig: Rig, tmp_path: Path
) -> None:
    connection, out = rig.number.connection, tmp_path / "verified.md"
    assert connection is not None
    connection.api_key = seed.STANDIN_API_KEY
    await in_database(connection.save)
    code, body = await in_database(_run, "--number", rig.number.number_e164, "--out", str(out))
    model = {item["question"]: item for item in body["items"] if "openai" in item["source"]}
    opened = model["Does a session open with this key and model?"]
    assert (opened["state"], opened["by"]) == ("answered", "the stand-in")
    assert model["Does a tool take strict?"]["answer"].startswith("no: ")  # O7
    assert model["Does a tool's schema take a nested anyOf?"]["answer"] == "yes"
    assert not out.exists(), "what a stand-in answers verifies nothing"
    assert connection.api_key not in json.dumps(body)
    # Exactly one line for every open question of both references.
    numbers = [
        item["source"] for item in body["items"] if item["source"].startswith("twilio.md 12")
    ]
    assert numbers == [f"twilio.md 12.{n}" for n in range(1, 13)]
    assert {f"openai_realtime.md 15.{n}" for n in range(1, 9)} <= {
        item["source"] for item in body["items"]
    }
    assert all(item["answer"] for item in body["items"])
    known = next(item for item in body["items"] if item["source"] == "twilio.md 5.1")
    assert (code == 0) == (known["state"] == "answered"), known

    connection.api_key, connection.name = "sk-another", "Own"
    await in_database(connection.save)
    await in_database(_run, "--number", rig.number.number_e164, "--out", str(out))
    assert "| answered | yes |" in out.read_text("utf-8")

    connection.api_key = "sk-invalid"
    await in_database(connection.save)
    code, body = await in_database(_run, "--number", rig.number.number_e164)
    assert (code, body["ok"]) == (1, False)
    states = {item["question"]: item["state"] for item in body["items"]}
    assert states["Does a session open with this key and model?"] == "failed"
    assert states["Does a tool take strict?"] == "not checked"


def test_without_credentials_it_says_so_and_asks_nobody() -> None:
    ProviderConnection.objects.all().delete()
    code, body = _run()
    assert (code, body["ok"]) == (1, False)
    assert {item["state"] for item in body["items"]} == {"not checked"}
    assert "no model connection" in body["items"][0]["answer"]


def test_bad_usage_is_told_apart() -> None:
    factories.default_organisation()
    for options in (("--number", "12"), ("--connection", "none")):
        with pytest.raises(CommandError) as refused:
            _run(*options)
        assert refused.value.returncode == 2


def test_every_probe_changes_what_a_call_sends() -> None:
    row = ProviderConnection(dialect="openai_ga", transcription_model="gpt-transcribe")
    plain = json.loads(plain_session(row))["session"]
    for _, question, change in live._PROBES:
        changed = json.loads(json.dumps(plain))
        change(changed)
        assert changed != plain, question
