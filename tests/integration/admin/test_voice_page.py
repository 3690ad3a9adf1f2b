"""The voice pages: the list, the candidates of one voice, the decision, and who may do what."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from assistants.models import Assistant, VoiceChoice
from assistants.services import assistant_publish
from assistants.voice_table import realtime_voice
from calls.models import ProviderConnection
from calls.services.call_plan import plan_for
from calls.services.voice_sample import NO_CONNECTION, samples_render
from tests import factories
from tests.integration.admin.speech import SpeechServer, speech
from voiceplatform.base.models import Job, Organisation

__all__ = ["speech"]

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

LIST = reverse("admin:assistants_voicechoice_changelist")
SARAH = {"provider": "11labs", "voiceId": "sarah"}
VIEW = "assistants.view_voicechoice"
CHANGE = "assistants.change_voicechoice"


@pytest.fixture(autouse=True)
def var_dir(settings: Any, tmp_path: Path) -> Path:
    settings.VAR_DIR = tmp_path
    return tmp_path


@pytest.fixture
def organisation() -> Organisation:
    return factories.make_organisation()


@pytest.fixture
def connection(organisation: Organisation) -> ProviderConnection:
    return factories.make_connection(organisation, is_default=True, name="OpenAI")


@pytest.fixture
def operator(client: Client, organisation: Organisation) -> Client:
    client.force_login(factories.make_staff(organisation, [VIEW, CHANGE]))
    return client


def publish(organisation: Organisation, voice: Any = SARAH, **fields: Any) -> None:
    assistant_publish(
        organisation=organisation,
        document={"name": "Desk", "firstMessage": "Hello!", "voice": voice, **fields},
        source="import",
        actor=None,
    )


def seeded(client: Client) -> VoiceChoice:
    """Open the list, which gives the one voice in use its row."""
    assert client.get(LIST).status_code == 200
    return VoiceChoice.objects.get()


def url(name: str, choice: VoiceChoice, *more: str) -> str:
    return reverse(f"admin:assistants_voicechoice_{name}", args=[choice.pk, *more])


def listen(client: Client, choice: VoiceChoice, query: str = "") -> Any:
    return client.post(url("listen", choice) + query)


def test_the_list_shows_every_voice_in_use_and_how_many_have_it(
    operator: Client, organisation: Organisation
) -> None:
    publish(organisation)
    publish(organisation, {"provider": "elevenlabs", "voiceId": "EXAVITQu4vr4xnSDxMaL"})
    publish(organisation, "alloy")
    publish(organisation, None)
    html = operator.get(LIST).content.decode()
    for text in ("11labs Sarah", "Coral (friendly female)", "callers hear another voice"):
        assert text in html
    assert "no voice named" in html
    assert "the same voice" in html
    rows = operator.get(LIST).context["cl"].result_list
    assert {(row.known_as, row.used_by) for row in rows} == {("Sarah", 2), ("alloy", 1), ("", 1)}


def test_the_page_lets_hear_and_decides_for_all_assistants(
    operator: Client,
    organisation: Organisation,
    connection: ProviderConnection,
    speech: SpeechServer,
) -> None:
    publish(organisation)
    publish(organisation, name="Second")
    choice = seeded(operator)
    page = operator.get(url("change", choice)).content.decode()
    assert "“Hello!”" in page
    assert "Let the candidates say it" in page
    assert page.count("<audio") == 4
    assert "src=" not in "".join(re.findall(r"<audio[^>]*>", page))

    answer = listen(operator, choice)
    assert answer.status_code == 302
    assert answer["Location"].startswith(url("change", choice))
    state = operator.get(url("samples", choice)).json()
    assert (state["pending"], state["total"]) == (True, 4)
    samples_render(Job.objects.get().pk)

    state = operator.get(url("samples", choice)).json()
    assert (state["pending"], state["problem"]) == (False, "")
    assert [sample["voice"] for sample in state["samples"]] == ["coral", "marin", "sage", "shimmer"]
    for sample in state["samples"]:
        audio = operator.get(sample["url"])
        assert (audio.status_code, audio["Content-Type"]) == (200, "audio/wav")
        assert audio.content.startswith(b"RIFF")
        assert "private" in audio["Cache-Control"]
    page = operator.get(url("change", choice)).content.decode()
    assert len(re.findall(r"<audio[^>]* src=", page)) == 4
    assert "Let the candidates say it" not in page

    saved = operator.post(url("change", choice), {"realtime_voice": "sage", "_save": ""})
    assert saved["Location"] == LIST
    assert realtime_voice(organisation, SARAH) == "sage"
    choice.refresh_from_db()
    assert choice.decided_by is not None
    shown = operator.get(LIST).content.decode()
    assert "callers hear Sage" in shown
    assert "decided" in shown


def test_the_next_call_speaks_with_the_decided_voice(
    operator: Client, organisation: Organisation
) -> None:
    publish(organisation)
    assistant = Assistant.objects.get(organisation=organisation)
    number = factories.make_number(organisation, assistant=assistant)
    call = factories.make_call(number=number)
    assert plan_for(call).session.voice == "coral"
    choice = seeded(operator)
    operator.post(url("change", choice), {"realtime_voice": "sage", "_save": ""})
    assert plan_for(call).session.voice == "sage"
    assistant.refresh_from_db()
    assert assistant.current_revision_id == call.revision_id  # nothing was published


def test_deciding_for_what_is_proposed_is_a_decision_too(
    operator: Client, organisation: Organisation
) -> None:
    publish(organisation)
    choice = seeded(operator)
    operator.post(url("change", choice), {"realtime_voice": choice.realtime_voice, "_save": ""})
    choice.refresh_from_db()
    assert choice.decided_at is not None


@pytest.mark.parametrize("voice", ["", "rachel", "<script>"])
def test_no_such_candidate_decides_nothing(
    operator: Client, organisation: Organisation, voice: str
) -> None:
    publish(organisation)
    choice = seeded(operator)
    answer = operator.post(url("change", choice), {"realtime_voice": voice, "_save": ""})
    assert answer.status_code == 200
    assert "Choose one of the candidates." in answer.content.decode()
    choice.refresh_from_db()
    assert choice.decided_at is None


def test_all_ten_can_be_shown_and_heard(
    operator: Client,
    organisation: Organisation,
    connection: ProviderConnection,
    speech: SpeechServer,
) -> None:
    publish(organisation)
    choice = seeded(operator)
    page = operator.get(url("change", choice) + "?all=1").content.decode()
    assert page.count("<audio") == 10
    assert "all=1" in listen(operator, choice, "?all=1")["Location"]
    samples_render(Job.objects.get().pk)
    assert len(speech.asked) == 10


def test_a_decided_voice_stays_among_the_candidates(
    operator: Client, organisation: Organisation
) -> None:
    publish(organisation)
    choice = seeded(operator)
    operator.post(url("change", choice), {"realtime_voice": "echo", "_save": ""})
    page = operator.get(url("change", choice)).content.decode()
    assert re.search(r'value="echo" checked', page)
    assert page.count("<audio") == 5


def test_the_greeting_of_another_assistant_can_be_chosen(
    operator: Client, organisation: Organisation, connection: ProviderConnection
) -> None:
    publish(organisation, name="A", firstMessage="Hello from A.")
    publish(organisation, name="B", firstMessage="Hello from B.")
    choice = seeded(operator)
    page = operator.get(url("change", choice)).content.decode()
    assert "“Hello from A.”" in page
    other = re.search(r'href="([^"]+)#candidates">B</a>', page)
    assert other is not None
    page = operator.get(other[1].replace("&amp;", "&")).content.decode()
    assert "“Hello from B.”" in page
    listen(operator, choice, other[1][other[1].index("?") :])
    job = Job.objects.get()
    assert job.parameters["assistant"] in other[1]


def test_without_a_connection_the_page_says_how_to_get_one(
    operator: Client, organisation: Organisation
) -> None:
    publish(organisation)
    choice = seeded(operator)
    page = operator.get(url("change", choice)).content.decode()
    assert "No model connection is the default of this organisation" in page
    assert "Let the candidates say it" not in page
    answer = operator.post(url("listen", choice), follow=True)
    assert NO_CONNECTION.split(".")[0] in answer.content.decode()


def test_a_refused_key_is_said_on_the_page(
    operator: Client,
    organisation: Organisation,
    connection: ProviderConnection,
    speech: SpeechServer,
) -> None:
    publish(organisation)
    choice = seeded(operator)
    speech.status["*"] = 401
    listen(operator, choice)
    samples_render(Job.objects.get().pk)
    page = operator.get(url("change", choice)).content.decode()
    assert "The key was refused. Fix: put a valid key into the connection." in page
    assert "Let the candidates say it" in page


def test_what_a_document_says_is_text_on_the_page(
    operator: Client, organisation: Organisation
) -> None:
    planted = "<img src=x onerror=alert(1)>"
    publish(organisation, {"provider": planted, "voiceId": planted}, firstMessage=planted)
    choice = seeded(operator)
    for page in (LIST, url("change", choice)):
        html = operator.get(page).content.decode()
        assert "<img src=x" not in html
        assert "&lt;img src=x" in html


def test_looking_and_listening_need_the_right_to_see_and_no_more(
    client: Client,
    organisation: Organisation,
    connection: ProviderConnection,
    speech: SpeechServer,
) -> None:
    publish(organisation)
    client.force_login(factories.make_staff(organisation, [VIEW]))
    choice = seeded(client)
    page = client.get(url("change", choice)).content.decode()
    assert 'type="radio"' not in page
    assert "Let the candidates say it" not in page
    assert listen(client, choice).status_code == 403
    saved = client.post(url("change", choice), {"realtime_voice": "sage", "_save": ""})
    assert saved.status_code == 403
    assert realtime_voice(organisation, SARAH) == "coral"
    assert not Job.objects.exists()


def test_without_the_right_to_see_nothing_is_shown(
    client: Client, organisation: Organisation, connection: ProviderConnection
) -> None:
    choice = factories.make_voice_choice(organisation)
    client.force_login(factories.make_staff(organisation))
    assert client.get(LIST).status_code == 403
    assert client.get(url("change", choice)).status_code == 403
    for name, more in (("samples", ()), ("sample", ("marin",)), ("listen", ())):
        assert client.get(url(name, choice, *more)).status_code == 404, name
    client.logout()
    assert client.get(url("sample", choice, "marin")).status_code == 302


def test_samples_of_another_organisation_are_not_there(
    client: Client,
    operator: Client,
    organisation: Organisation,
    connection: ProviderConnection,
    speech: SpeechServer,
) -> None:
    publish(organisation)
    choice = seeded(operator)
    listen(operator, choice)
    samples_render(Job.objects.get().pk)
    heard = operator.get(url("samples", choice)).json()["samples"][0]["url"]
    assert operator.get(heard).status_code == 200
    client.force_login(factories.make_staff(factories.make_organisation(), "all"))
    for each in (heard, url("samples", choice), url("change", choice)):
        assert client.get(each).status_code == 404
    assert listen(client, choice).status_code == 404
    assert choice.pk not in {row.pk for row in client.get(LIST).context["cl"].result_list}


def test_a_sample_that_is_not_there_or_no_voice_is_404(
    operator: Client, organisation: Organisation, connection: ProviderConnection
) -> None:
    publish(organisation)
    choice = seeded(operator)
    for voice in ("marin", "rachel", "..", "%2e%2e"):
        assert operator.get(url("sample", choice, voice)).status_code == 404
    assert operator.get(url("listen", choice)).status_code == 405


@pytest.mark.parametrize(
    ("asked", "status", "content_range", "size"),
    [
        ("bytes=0-1", 206, "bytes 0-1/{n}", 2),
        ("bytes=10-", 206, "bytes 10-{last}/{n}", -10),
        ("bytes=-5", 206, "bytes {tail}-{last}/{n}", 5),
        ("bytes=0-99999999", 206, "bytes 0-{last}/{n}", 0),
        ("bytes=99999999-", 416, "bytes */{n}", None),
        ("bytes=5-2", 416, "bytes */{n}", None),
        ("bytes=-", 200, "", 0),
        ("seconds=1-2", 200, "", 0),
    ],
)
def test_safari_gets_the_part_it_asks_for(
    operator: Client,
    organisation: Organisation,
    connection: ProviderConnection,
    speech: SpeechServer,
    asked: str,
    status: int,
    content_range: str,
    size: int | None,
) -> None:
    publish(organisation)
    choice = seeded(operator)
    listen(operator, choice)
    samples_render(Job.objects.get().pk)
    target = url("sample", choice, "marin")
    n = len(operator.get(target).content)
    answer = operator.get(target, headers={"Range": asked})
    assert answer.status_code == status
    expected = content_range.format(n=n, last=n - 1, tail=n - 5)
    assert answer.get("Content-Range", "") == expected
    if size is not None:
        assert len(answer.content) == (size if size > 0 else n + size)


def test_the_page_costs_few_queries_whatever_the_number_of_assistants(
    operator: Client, organisation: Organisation, connection: ProviderConnection
) -> None:
    publish(organisation)
    choice = seeded(operator)

    def count() -> int:
        with CaptureQueriesContext(database) as queries:
            assert operator.get(url("change", choice)).status_code == 200
        return len(queries)

    few = count()
    for number in range(10):
        publish(organisation, name=f"Desk {number}")
    assert count() <= few
    assert few <= 25


def test_rows_come_from_assistants_only(client: Client, organisation: Organisation) -> None:
    client.force_login(factories.make_superuser())
    choice = factories.make_voice_choice(organisation)
    assert client.get(reverse("admin:assistants_voicechoice_add")).status_code == 403
    assert client.post(url("delete", choice), {"post": "yes"}).status_code == 403
    assert VoiceChoice.objects.filter(pk=choice.pk).exists()
