"""``render_session``: every export as a session the vendor's types accept; equal to a real call."""

from __future__ import annotations

import datetime as dt
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from assistants.models import Assistant
from assistants.services import assistant_publish
from assistants.voice_table import voice_decide
from calls.bridge.model import configuration
from calls.models import Call, ProviderConnection
from calls.services.call_plan import endpoint_for, plan_for
from calls.services.call_variables import variables_for
from calls.services.session_preview import (
    PreviewProblem,
    document_of_file,
    opening_events,
    preview_file,
    preview_stored,
)
from calls.services.squad_preview import preview_squad
from tests import factories
from tests.contract import check_realtime_client
from tests.unit.house.source_tree import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

OURS = ROOT / "tests" / "fixtures" / "vapi"
FOLDERS = [folder for folder in (OURS, ROOT.parent / "shared" / "data" / "vapi") if folder.is_dir()]
FILES = [path for folder in FOLDERS for path in sorted(folder.rglob("assistants/*.json"))]
NOW = dt.datetime(2026, 11, 22, 15, 4, tzinfo=dt.UTC)
CONTRACTS: dict[str, Any] = {"openai_ga": "ga", "azure_ga": "azure_ga", "beta": "beta"}
DOCUMENT: dict[str, Any] = {
    "name": "Desk",
    "firstMessage": "Hello {{customer.number}}, it is {{'now' | date: '%A', 'Europe/Berlin'}}.",
    "model": {
        "model": "gpt-realtime-2.1",
        "reasoningEffort": "low",
        "maxTokens": 2000,
        "messages": [
            {"role": "system", "content": "You are at {{phoneNumber.number}}, {{ call.type }}."},
            {"role": "user", "content": "Is {{month}} fine?"},
            {"role": "assistant", "content": "Yes."},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "book",
                    "description": "Book for {{customer.number}}.",
                    "parameters": {
                        "type": "object",
                        "properties": {"day": {"type": "string", "description": "After {{date}}."}},
                    },
                },
                "server": {"url": "https://tools.example.com"},
            }
        ],
    },
    "voice": {"provider": "openai", "voiceId": "sage", "speed": 1.2},
    "transcriber": {"provider": "deepgram", "language": "de", "keyterm": ["Zahnrad"]},
    "startSpeakingPlan": {"smartEndpointingEnabled": True},
    "backgroundDenoisingEnabled": True,
}


def rendered(*arguments: str) -> dict[str, Any]:
    out = StringIO()
    call_command("render_session", *arguments, stdout=out)
    value: dict[str, Any] = json.loads(out.getvalue())
    return value


@pytest.fixture
def _noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOW)


@pytest.fixture
def connection(db: None) -> ProviderConnection:
    return factories.make_connection(is_default=True)


def test_there_are_assistants_to_render() -> None:
    assert len(FILES) >= 22


@pytest.mark.parametrize("dialect", CONTRACTS)
def test_every_export_is_a_session_that_the_types_accept(
    connection: ProviderConnection, dialect: Any
) -> None:
    organisation = connection.organisation
    greeted = 0
    for path in FILES:
        preview = preview_file(
            organisation=organisation,
            path=str(path),
            variables={"customer": {"number": "+15550100001"}},
            dialect=dialect,
        )
        greeting = [preview.greeting] if preview.greeting else []
        for event in (preview.session_update, *preview.conversation, *greeting):
            check_realtime_client(event, CONTRACTS[dialect])
        spoken = json.dumps([preview.session_update, *greeting])
        assert "{%" not in spoken, path.name
        assert '{{"now"' not in spoken, path.name
        greeted += len(greeting)
    assert greeted > len(FILES) / 2


def test_the_command_prints_the_very_bytes_of_a_call(_noon: None, db: None) -> None:
    number = factories.make_number()
    assistant = assistant_publish(
        organisation=number.organisation, document=DOCUMENT, source="seed", actor=None
    )
    ProviderConnection.objects.filter(pk=number.connection_id).update(is_default=True)
    number.assistant = assistant
    number.save()
    call = factories.make_call(number=number, revision=assistant.current_revision)
    plan = plan_for(Call.objects.get(pk=call.pk))
    variables = json.dumps(variables_for(call))
    out = StringIO()
    call_command(
        "render_session", str(assistant.pk), "--json", "--variables", variables, stdout=out
    )
    assert f'{{"session_update":{configuration(plan)},' in out.getvalue()
    printed = json.loads(out.getvalue())
    sent = [printed["session_update"], *printed["conversation"], printed["greeting"]]
    assert sent == opening_events(plan)
    assert printed["tools"] == printed["session_update"]["session"]["tools"]


def test_a_call_speaks_what_is_filled_in(_noon: None, db: None) -> None:
    number = factories.make_number()
    assistant = assistant_publish(
        organisation=number.organisation, document=DOCUMENT, source="seed", actor=None
    )
    call = factories.make_call(
        number=number, revision=assistant.current_revision, caller="+15550100009"
    )
    plan = plan_for(call)
    assert plan.greeting.text == "Hello +15550100009, it is Sunday."
    assert plan.session.instructions == f"You are at {number.number_e164}, inboundPhoneCall."
    assert [(item.role, item.text) for item in plan.examples] == [
        ("user", "Is November fine?"),
        ("assistant", "Yes."),
    ]
    (tool,) = plan.session.tools
    assert tool.description == "Book for +15550100009."
    assert tool.parameters["properties"]["day"]["description"] == "After Nov 22, 2026."
    assert plan.session.turn_detection.kind == "semantic_vad"
    assert (plan.session.noise_reduction, plan.session.speed) == ("near_field", 1.2)
    assert (plan.session.keywords, plan.session.language) == (("Zahnrad",), "de")
    assert (plan.session.reasoning_effort, plan.session.max_output_tokens) == ("low", 4096)
    assert type(plan).from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_no_text_of_a_schema_reaches_the_model_as_a_template(db: None) -> None:
    number = factories.make_number()
    day = {"type": "string", "title": "After {{date}}", "pattern": "{{year}}"}
    function = {"name": "book", "parameters": {"type": "object", "properties": {"day": day}}}
    server = {"url": "https://tools.example.com"}
    document = {"model": {"tools": [{"type": "function", "function": function, "server": server}]}}
    assistant = assistant_publish(
        organisation=number.organisation, document=document, source="seed", actor=None
    )
    call = factories.make_call(number=number, revision=assistant.current_revision)
    assert "{{" not in json.dumps(plan_for(call).session.tools[0].parameters)


def test_the_voice_is_the_one_that_was_decided(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    call = factories.make_call()
    monkeypatch.setattr("calls.services.call_plan.realtime_voice", lambda *_: "verse")
    assert plan_for(call).session.voice == "verse"


@pytest.mark.parametrize(
    ("dialect", "query"), [("azure_ga", ""), ("beta", "?api-version=2025-04-01-preview")]
)
def test_o27_azure_is_dialled_by_the_deployment_of_the_connection(
    db: None, dialect: str, query: str
) -> None:
    call = factories.make_call()
    document = {**DOCUMENT, "voice": {"provider": "11labs", "voiceId": "sarah"}}
    assistant = assistant_publish(
        organisation=call.organisation, document=document, source="seed", actor=None
    )
    call.revision = assistant.current_revision
    assert endpoint_for(call).model == plan_for(call).model == "gpt-realtime-2.1"
    call.connection.model = "clinic-rt"
    call.connection.dialect = dialect
    call.connection.realtime_url = f"wss://clinic.openai.azure.com/openai/v1/realtime{query}"
    call.connection.is_default = True
    call.connection.transcription_model = "gpt-realtime-whisper"
    call.connection.save()
    assert endpoint_for(call).model == plan_for(call).model == "clinic-rt"
    assert "=clinic-rt" in endpoint_for(call).address()
    assert "gpt-realtime-2.1" not in endpoint_for(call).address()
    voice_decide(
        organisation=call.organisation,
        provider="11labs",
        voice_id="sarah",
        realtime_voice="sage",
        actor=None,
    )
    preview = preview_stored(
        organisation=call.organisation, assistant_id=assistant.pk, variables={}
    )
    said = {found.path: found.message for found in preview.findings}
    assert "is not asked for: at Azure the deployment clinic-rt" in said["$.model.model"]
    assert "takes no hints" in said["$.transcriber.keyterm"]
    assert "Sarah -> sage" in said["$.voice"]
    sent = preview.session_update["session"]
    assert "Zahnrad" not in json.dumps(sent)
    assert '"sage"' in json.dumps(sent)


def test_a_model_that_cannot_speak_is_not_dialled(db: None) -> None:
    call = factories.make_call()
    call.revision.model = "gpt-realtime-whisper"  # a row of an earlier version
    assert endpoint_for(call).model == call.connection.model


def test_a_file_takes_its_saved_tools_from_here(
    connection: ProviderConnection, tmp_path: Path
) -> None:
    tool = factories.make_tool(connection.organisation, name="saved")
    absent = "00000000-0000-4000-8000-000000000000"
    path = tmp_path / "desk.json"
    path.write_text(
        json.dumps(
            {
                "voice": {"provider": "openai", "voiceId": "sage"},
                "model": {
                    "messages": [{"role": "system", "content": "Hi {{a.b}}"}],
                    "toolIds": [str(tool.pk), absent, "by-name"],
                    "tools": [{"type": "endCall"}],
                },
            }
        )
    )
    found = rendered(str(path), "--variables", '{"a.b": "there"}', "--dialect", "azure_ga")
    assert [each["name"] for each in found["tools"]] == ["endCall", "saved"]
    assert found["session_update"]["session"]["instructions"] == "Hi there"
    assert found["greeting"] is None
    missing = [f["message"] for f in found["findings"] if "not stored here" in f["message"]]
    assert len(missing) == 2


def test_without_a_connection_the_model_of_the_settings_is_assumed(
    db: None, tmp_path: Path
) -> None:
    factories.default_organisation()
    path = tmp_path / "desk.json"
    path.write_text('{"voice": {"voiceId": "sage"}, "firstMessage": "Hi"}')
    found = rendered(str(path))
    transcription = found["session_update"]["session"]["audio"]["input"]["transcription"]
    assert transcription["model"]
    assert found["greeting"]["type"] == "response.create"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nothing-here"], 2, "neither a file nor the id"),
        (["00000000-0000-4000-8000-000000000000"], 1, "no assistant"),
        (["FOLDER"], 1, "is a folder"),
        (["TWO"], 1, "2 assistants"),
        (["NONE"], 1, "TEXT"),
        (["TWO", "--variables", "[1]"], 2, "not a JSON object"),
        (["TWO", "--variables", "{"], 2, "not JSON"),
    ],
)
def test_what_cannot_be_rendered_is_said(
    db: None, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    factories.default_organisation()
    (tmp_path / "two.json").write_text('[{"voice": {}, "model": {}}, {"voice": {}}]')
    (tmp_path / "none.json").write_text("{nonsense")
    places = {
        "FOLDER": str(tmp_path),
        "TWO": str(tmp_path / "two.json"),
        "NONE": str(tmp_path / "none.json"),
    }
    with pytest.raises(CommandError) as caught:
        call_command("render_session", *(places.get(a, a) for a in arguments))
    assert caught.value.returncode == code
    assert words in str(caught.value) or words == "TEXT"


def test_another_organisations_assistant_is_not_rendered(db: None) -> None:
    factories.default_organisation()
    stranger: Assistant = factories.make_assistant(factories.make_organisation())
    with pytest.raises(CommandError, match="no assistant"):
        rendered(str(stranger.pk))


def test_every_member_of_every_squad_is_rendered(db: None) -> None:
    """Each with its overrides on top; whoever is not stored here is named."""
    squads = [path for folder in FOLDERS for path in sorted(folder.rglob("squads/*.json"))]
    sessions = 0
    for path in squads:
        try:
            kind, document = document_of_file(str(path))
        except PreviewProblem:
            continue  # a file of the corpus that is no squad; the import says so
        if kind != "squad":
            continue
        members = preview_squad(
            document, organisation=factories.default_organisation(), variables={}
        )
        assert len(members) == len(document["members"])
        for each in members:
            assert (each.preview is None) == (each.finding is not None)
            if each.preview is not None:
                check_realtime_client(each.preview.session_update, "ga")
                sessions += 1
    assert sessions >= 5


def test_a_stored_squad_is_rendered_with_its_overrides(db: None) -> None:
    desk = factories.make_assistant(document={**DOCUMENT, "firstMessage": "Hello"})
    document = {
        "name": "Team",
        "members": [
            {
                "assistantId": str(desk.pk),
                "assistantOverrides": {
                    "model": {"messages": [{"role": "system", "content": "Go."}]}
                },
                "assistantDestinations": [{"assistantName": "Cashier", "type": "assistant"}],
            },
            {"assistantId": "no-such-assistant"},
        ],
    }
    squad = factories.make_squad(desk.organisation, **document)
    out = StringIO()
    call_command(
        "render_session",
        str(squad.pk),
        "--json",
        "--organisation",
        desk.organisation.name,
        stdout=out,
    )
    first, second = json.loads(out.getvalue())["members"]
    assert first["session_update"]["session"]["instructions"] == "Go."
    assert first["hands_on_to"] == ["Cashier"]
    assert "session_update" not in second
    assert "no-such-assistant" in second["findings"][0]["message"]
