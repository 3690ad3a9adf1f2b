"""``prepare_instance`` and ``doctor``: harmless twice, and every fault comes with its fix."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from django.core.management import call_command
from django.db import DatabaseError
from django.utils import timezone
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from assistants.models import Assistant
from calls.doctor import Result, checks, run_checks
from calls.media.database import in_database
from calls.models import CallPolicy, PhoneNumber, PolicyWording, ProviderConnection, TwilioAccount
from tests import factories
from tests.integration.calls.rig import Rig

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

MODELS: tuple[Any, ...] = (
    Assistant, CallPolicy, PhoneNumber, PolicyWording, ProviderConnection, TwilioAccount,
)  # fmt: skip


def _counts() -> list[int]:
    return [model.objects.count() for model in MODELS]


# ---- prepare_instance -------------------------------------------------------------------------


def test_prepare_instance_twice_changes_nothing(transactional_db: None, settings: Any) -> None:
    settings.TWILIO_ACCOUNT_SID, settings.TWILIO_AUTH_TOKEN = "AC" + "9" * 32, "secret-token"
    settings.OPENAI_API_KEY = "sk-of-the-environment"
    call_command("prepare_instance")
    account = TwilioAccount.objects.get(account_sid="AC" + "9" * 32)
    connection = ProviderConnection.objects.get(name="OpenAI")
    assert (account.auth_token, connection.api_key) == ("secret-token", "sk-of-the-environment")
    before = _counts()
    settings.TWILIO_AUTH_TOKEN, settings.OPENAI_API_KEY = "another", "sk-another"
    call_command("prepare_instance")
    assert _counts() == before
    account.refresh_from_db()
    connection.refresh_from_db()
    # Afterwards the row wins (design.md 4).
    assert (account.auth_token, connection.api_key) == ("secret-token", "sk-of-the-environment")


def test_the_example_policy_counts_for_nothing_before_review(transactional_db: None) -> None:
    call_command("prepare_instance")
    policy = CallPolicy.objects.get(is_default=True)
    assert policy.reviewed_at is None
    assert policy.wordings.count() == 4


def test_stand_ins_are_seeded_again_at_their_new_address(transactional_db: None) -> None:
    out = io.StringIO()
    call_command("prepare_instance", "--standins-url", "http://127.0.0.1:9100/", stdout=out)
    assert "+15550100001" in out.getvalue()
    before = _counts()
    call_command("prepare_instance", "--standins-url", "http://127.0.0.1:9200")
    assert _counts() == before
    number = PhoneNumber.objects.get(number_e164="+15550100001")
    assert number.twilio_account.api_base_url == "http://127.0.0.1:9200"
    assert number.connection is not None
    assert number.connection.realtime_url == "ws://127.0.0.1:9200/v1/realtime"
    assert number.assistant is not None
    assert number.assistant.current_revision is not None


# ---- doctor -----------------------------------------------------------------------------------


def _doctor(*options: str) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command("doctor", *options, stdout=out)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue()
    return 0, out.getvalue()


def _of(results: list[Result], check: str) -> Result:
    found = [result for result in results if result.check.startswith(check)]
    assert found, [result.check for result in results]
    return found[0]


async def test_everything_is_ok_against_a_running_platform(
    rig: Rig, settings: Any, valkey_url: str
) -> None:
    settings.PUBLIC_BASE_URL = f"http://127.0.0.1:{rig.port}"
    code, out = await in_database(_doctor, "--json")
    body = json.loads(out)
    assert (code, body["ok"]) == (0, True), out
    states = {result["check"]: result["state"] for result in body["results"]}
    for check in ("database", "redis", "media socket"):
        assert states[check] == "ok"
    assert states[f"signature {rig.number.twilio_account.name}"] == "ok"
    assert states[f"model {rig.number.connection.name}"] == "ok"
    # Loopback without TLS is named, but it is no failure.
    assert states["public URL"] in {"ok", "warning"}
    assert await rig.rows() == []
    assert "sk-" not in out
    assert "token" not in json.dumps([result["detail"] for result in body["results"]])


async def test_each_fault_is_failed_with_its_fix(rig: Rig, settings: Any) -> None:
    settings.PUBLIC_BASE_URL = f"http://127.0.0.1:{rig.port}"
    settings.REDIS_URL = "unix:///nonexistent/valkey.sock"
    connection = rig.number.connection

    async def failed(check: str) -> Result:
        result = _of(await in_database(run_checks), check)
        assert result.state == "failed", result
        assert result.fix
        return result

    await failed("redis")
    connection.api_key = "sk-invalid"
    await in_database(connection.save)
    assert "answered 401" in (await failed("model")).detail
    connection.api_key, connection.model = "sk-standin", "no-such-model"
    await in_database(connection.save)
    assert "not offered" in (await failed("model")).detail
    connection.rest_base_url = "http://127.0.0.1:1/v1"
    await in_database(connection.save)
    assert "ConnectError" in (await failed("model")).detail
    await in_database(
        lambda: CallPolicy.objects.filter(pk=rig.number.policy_id).update(reviewed_at=None)
    )
    assert "declined" in (await failed("number")).detail
    settings.PUBLIC_BASE_URL = "http://127.0.0.1:1"
    for check in ("public URL", "signature", "media socket"):
        result = [r for r in await in_database(run_checks) if r.check.startswith(check)]
        assert result[-1].state == "failed"
        assert result[-1].fix
    code, out = await in_database(_doctor)
    assert code == 1
    assert "FAILED" in out
    assert "fix: " in out


async def test_an_address_that_twilio_is_not_told_is_a_failed_signature(
    rig: Rig, settings: Any
) -> None:
    settings.PUBLIC_BASE_URL = f"http://127.0.0.1:{rig.port}"
    results = await in_database(run_checks)
    assert _of(results, "signature").state == "ok"
    with mock.patch.object(checks, "public_url", lambda path: f"http://localhost:{rig.port}{path}"):
        result = _of(await in_database(run_checks), "signature")
    assert (result.state, "PUBLIC_BASE_URL" in result.fix) == ("failed", True)


def test_an_empty_instance_is_warned_about_not_failed(transactional_db: None) -> None:
    assert [result.state for result in checks._models()] == ["warning"]
    assert next(iter(checks._signatures())).state == "warning"
    assert list(checks._numbers()) == []


def test_a_database_that_is_away_is_a_result(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise DatabaseError

    monkeypatch.setattr(checks.connection, "cursor", broken)
    (result,) = checks._database()
    assert (result.state, "DATABASE_URL" in result.fix) == ("failed", True)
    monkeypatch.undo()


def test_models_that_end_and_clocks_that_differ_are_warnings() -> None:
    body = {"data": [{"id": "gpt-realtime", "shutdown_date": "2027-01-20"}]}
    assert checks._model_result("m", "gpt-realtime", body).state == "warning"
    listed = {"data": [{"id": "gpt-realtime-whisper"}]}
    result = checks._model_result("m", "gpt-realtime-whisper", listed)
    assert (result.state, "cannot speak" in result.detail) == ("failed", True)
    for odd in (None, [], {"data": None}, {"data": [5]}):
        assert checks._model_result("m", "gpt-realtime", odd).state == "failed"
    (late,) = checks._clock("Sun, 01 Nov 2026 09:00:00 GMT", timezone.now().timestamp())
    assert late.state == "warning"
    assert list(checks._clock("", 0.0)) == []
    assert list(checks._clock("not a date", 0.0)) == []
    (naive,) = checks._clock("Sun, 01 Nov 2026 09:00:00 -0000", 1_793_523_600.0)
    assert naive.state == "ok"


@pytest.fixture
def azure() -> Iterator[str]:
    """Serve two deployments as Azure does: one that is there, and one of no speech model."""

    def refuse(connection: ServerConnection, request: Request) -> Response | None:
        if request.headers.get("api-key") != "k":
            return connection.respond(401, "no")
        known = ("model=clinic-rt", "model=words")
        return None if request.path.endswith(known) else connection.respond(404, "no")

    def answer(connection: ServerConnection) -> None:
        error = '{"type":"error","error":{"code":"invalid_model"}}'
        is_there = connection.request is not None and "clinic-rt" in connection.request.path
        connection.send('{"type":"session.created"}' if is_there else error)

    with serve(answer, "127.0.0.1", 0, process_request=refuse) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/openai/v1/realtime"
        server.shutdown()
        thread.join(10)


@pytest.mark.parametrize(
    ("model", "key", "state", "words"),
    [
        ("clinic-rt", "k", "ok", "is there"),
        ("gpt-realtime-2.1", "k", "failed", "answered 404"),
        ("words", "k", "failed", "invalid_model"),
        ("clinic-rt", "wrong", "failed", "answered 401"),
    ],
)
def test_o27_a_name_that_is_no_deployment_at_azure_is_found(
    transactional_db: None, azure: str, model: str, key: str, state: str, words: str
) -> None:
    row = {"dialect": "azure_ga", "realtime_url": azure, "model": model, "api_key": key}
    factories.make_connection(**row)
    (found,) = checks._models()
    assert (found.state, words in found.detail) == (state, True)
    assert ("the name that the deployment has at Azure" in found.fix) is (
        words in ("answered 404", "invalid_model")
    )


def test_an_address_of_azure_where_nobody_answers_is_found(transactional_db: None) -> None:
    url = "ws://127.0.0.1:9/openai/v1/realtime"
    factories.make_connection(dialect="azure_ga", realtime_url=url)
    (found,) = checks._models()
    assert (found.state, "addresses" in found.fix) == ("failed", True)


def test_a_line_without_audio_is_a_warning(transactional_db: None) -> None:
    number = factories.make_number()
    factories.make_wording(number.policy)
    (result,) = checks._numbers()
    assert (result.state, bool(result.fix)) == ("warning", True)
