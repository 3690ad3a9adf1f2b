"""The voice that the pages of assistants show: the one that callers hear, and where it is from."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from assistants.import_services import ImportFile, import_files
from assistants.models import Assistant
from assistants.services import assistant_publish
from assistants.voice_table import realtime_voice, voice_decide, voices_heard
from tests import factories
from voiceplatform.base.models import Organisation

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

SARAH = {"provider": "11labs", "voiceId": "sarah"}  # the catalogue proposes Coral


@pytest.fixture
def organisation() -> Organisation:
    return factories.make_organisation()


@pytest.fixture
def staff(client: Client, organisation: Organisation) -> Client:
    codes = ["assistants.view_assistant", "assistants.change_assistant"]
    client.force_login(factories.make_staff(organisation, codes))
    return client


@pytest.fixture
def desk(organisation: Organisation) -> Assistant:
    return publish(organisation, SARAH)


def publish(organisation: Organisation, voice: Any) -> Assistant:
    document = {"name": "Desk", "voice": voice, "firstMessage": "Hi"}
    return assistant_publish(
        organisation=organisation, document=document, source="import", actor=None
    )


def decide(organisation: Organisation, voice: dict[str, str], heard: str) -> None:
    voice_decide(
        organisation=organisation,
        provider=voice["provider"],
        voice_id=voice["voiceId"],
        realtime_voice=heard,
        actor=None,
    )


def page_of(client: Client, assistant: Assistant) -> Any:
    return client.get(reverse("admin:assistants_assistant_change", args=[assistant.pk]))


def save(client: Client, assistant: Assistant, seen: Any = None, **changes: str) -> str:
    form = (seen or page_of(client, assistant)).context["adminform"].form
    data = {name: form[name].value() for name in form.fields}
    kept = {name: value for name, value in data.items() if value not in (None, False)}
    url = reverse("admin:assistants_assistant_change", args=[assistant.pk])
    answer = client.post(url, kept | changes | {"_save": ""}, follow=True)
    return str(answer.content.decode())


def voice_of(assistant: Assistant) -> Any:
    row = Assistant.objects.get(pk=assistant.pk)
    assert row.current_revision is not None and row.current_revision.document is not None
    return row.current_revision.document["voice"]


def test_the_form_shows_what_callers_hear_and_who_says_so(
    staff: Client, organisation: Organisation, desk: Assistant
) -> None:
    page = page_of(staff, desk).content.decode()
    assert '<option value="coral" selected>Coral: friendly female</option>' in page
    assert "For “11labs Sarah” at Vapi; proposed, not decided yet: the nearest feel" in page
    decide(organisation, SARAH, "sage")
    page = page_of(staff, desk).content.decode()
    assert '<option value="sage" selected>Sage: soft female</option>' in page
    assert "decided under Voices for every assistant with it" in page
    own = publish(organisation, "alloy")
    assert "The assistant's own voice." in page_of(staff, own).content.decode()


def test_the_name_of_a_voice_stays_text(staff: Client, organisation: Organisation) -> None:
    planted = publish(organisation, {"provider": "<b>x", "voiceId": "<img src=x onerror=y>"})
    page = page_of(staff, planted).content.decode()
    assert "For “&lt;b&gt;x &lt;img src=x onerror=y&gt;” at Vapi" in page
    assert "For “<b>" not in page


def test_an_import_says_what_was_decided_since(staff: Client, organisation: Organisation) -> None:
    raw = json.dumps({"name": "Desk", "model": {"messages": []}, "voice": SARAH}).encode()
    report = import_files(
        organisation=organisation,
        files=[ImportFile("a.json", raw)],
        actor=None,
        source="command",
    )
    assert report.run is not None
    organisation_staff = factories.make_staff(organisation, ["assistants.view_importrun"])
    staff.force_login(organisation_staff)
    run = reverse("admin:assistants_importrun_change", args=[report.run.pk])
    fields = reverse("admin:assistants_importrun_object", args=[report.run.pk]) + "?number=0"
    for url in (run, fields):
        html = staff.get(url).content.decode()
        assert "Sarah -&gt; coral" in html
        assert "as an operator decided since" not in html
    decide(organisation, SARAH, "sage")
    for url in (run, fields):
        words = "Today its callers hear sage, as an operator decided since."
        assert words in staff.get(url).content.decode()


def test_the_list_shows_what_callers_hear(
    staff: Client, organisation: Organisation, desk: Assistant
) -> None:
    decide(organisation, SARAH, "sage")
    other = factories.make_organisation()
    elsewhere = publish(other, SARAH)
    page = staff.get(reverse("admin:assistants_assistant_changelist")).content.decode()
    assert "Sage (decided)" in page
    assert voices_heard([elsewhere, desk])[elsewhere.pk].voice == "coral"


def test_saving_something_else_keeps_the_voice_of_the_document(
    staff: Client, organisation: Organisation, desk: Assistant
) -> None:
    decide(organisation, SARAH, "sage")
    assert "is live" in save(staff, desk, first_message="Hello")
    assert voice_of(desk) == SARAH


def test_a_decision_made_while_the_page_was_open_stays_in_force(
    staff: Client, organisation: Organisation, desk: Assistant
) -> None:
    seen = page_of(staff, desk)
    decide(organisation, SARAH, "sage")
    assert "is live" in save(staff, desk, seen, first_message="Hello")
    assert voice_of(desk) == SARAH


def test_choosing_what_the_catalogue_proposes_takes_it_for_this_assistant_alone(
    staff: Client, organisation: Organisation, desk: Assistant
) -> None:
    other = publish(organisation, SARAH)
    decide(organisation, SARAH, "sage")
    assert "is live" in save(staff, desk, voice="coral")
    assert voice_of(desk) == {"provider": "openai", "voiceId": "coral"}
    assert realtime_voice(organisation, voice_of(desk)) == "coral"
    assert realtime_voice(organisation, voice_of(other)) == "sage"


def test_a_voice_that_callers_would_not_hear_is_refused_with_the_fix(
    staff: Client, organisation: Organisation, desk: Assistant
) -> None:
    decide(organisation, {"provider": "openai", "voiceId": "ash"}, "verse")
    page = save(staff, desk, voice="ash")
    assert "somebody decided that callers hear Verse wherever an assistant has Ash" in page
    assert voice_of(desk) == SARAH


def test_a_revision_of_columns_shows_its_voice(staff: Client, organisation: Organisation) -> None:
    old = factories.make_assistant(organisation, voice="ash", document=None)
    assert '<option value="ash" selected>' in page_of(staff, old).content.decode()
    empty = publish(organisation, None)
    decide(organisation, {"provider": "", "voiceId": ""}, "echo")
    page = page_of(staff, empty).content.decode()
    assert '<option value="echo" selected>' in page
    assert "For an assistant that names no voice; decided under Voices" in page


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gpt-realtime-whisper", "“gpt-realtime-whisper” writes transcripts and cannot speak"),
        ("gpt-4o", "“gpt-4o” is no speech model"),
        ("gpt-realtime-2.1", "is live for the next call"),
    ],
)
def test_a_model_that_cannot_speak_is_refused(
    staff: Client, desk: Assistant, model: str, words: str
) -> None:
    assert words in save(staff, desk, model=model)
