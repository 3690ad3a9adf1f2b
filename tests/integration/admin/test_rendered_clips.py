"""What every call says alike: rendered once when it goes live, found by its very words, shown."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from assistants import services
from assistants.models import Assistant, AssistantRevision
from assistants.prompt import clock_variables
from assistants.translate import SessionPlan, session_plan
from assistants.voice_table import voice_decide
from calls.bridge.plan import CallPlan
from calls.models import PhoneNumber, ProviderConnection, RenderedClip
from calls.numbers.phrases import sentence
from calls.services import clip_render
from calls.services.call_plan import LEAD_IN_MS, plan_for
from calls.services.call_variables import variables_for
from calls.services.clip_render import clip_claim, clips_again, clips_want
from calls.services.clips import CALL_NAMES, filler_line, greeting_problem
from calls.services.session_preview import NOT_RENDERED, RENDERED, preview_stored
from calls.services.voice_sample import wav_of_mulaw
from calls.standins.tones import encode
from calls.tasks import render_clips
from tests import factories
from tests.integration.admin.speech import SpeechServer, speech
from voiceplatform.base.models import AuditEntry, Organisation

__all__ = ["speech"]

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

HELLO = "Hello, this is Harbour Dental."
FILLER = sentence("filler", "en")[0]
SORRY = sentence("apology", "en")[0]
LOST = sentence("unreachable", "en")[0]
SARAH = {"provider": "11labs", "voiceId": "sarah"}


@pytest.fixture
def number(speech: SpeechServer) -> PhoneNumber:
    """A number that answers with a published assistant; every speech endpoint is ours."""
    return answering()


def answering(organisation: Organisation | None = None, **document: Any) -> PhoneNumber:
    return factories.make_number(organisation, assistant=published(organisation, **document))


def published(organisation: Organisation | None = None, **document: Any) -> Assistant:
    return services.assistant_publish(
        organisation=organisation or factories.default_organisation(),
        document={"name": "Desk", "firstMessage": HELLO, "voice": SARAH, **document},
        source="api",
        actor=None,
    )


def published_again(number: PhoneNumber, **changes: Any) -> None:
    assistant = number.assistant
    assert assistant is not None
    assistant.refresh_from_db()
    services.assistant_edit(assistant=assistant, changes=changes, actor=None)
    number.assistant = Assistant.objects.get(pk=assistant.pk)


def paper(document: dict[str, Any]) -> SessionPlan:
    """Return the plan of a document for a call of which nothing is known."""
    return session_plan(document, voice="marin", variables={}, now=timezone.now())


def plan_of(number: PhoneNumber, **columns: Any) -> CallPlan:
    """Return what a call of the number would be played."""
    return plan_for(factories.make_call(number=number, stream_count=1, **columns))


def spoken(plan: CallPlan) -> tuple[str, str, str]:
    clips = (plan.greeting.clip, plan.filler.clip, plan.apology)
    return tuple(clip.text if clip is not None else "" for clip in clips)  # type: ignore[return-value]


def later(minutes: float) -> None:
    """Let time pass for everything that waits."""
    for clip in RenderedClip.objects.filter(due_at__isnull=False):
        assert clip.due_at is not None
        RenderedClip.objects.filter(pk=clip.pk).update(
            due_at=clip.due_at - dt.timedelta(minutes=minutes)
        )


# -- what is rendered -----------------------------------------------------------------------------


def test_a_revision_that_goes_live_is_rendered_once_and_the_next_call_has_it(
    number: PhoneNumber, speech: SpeechServer
) -> None:
    assert spoken(plan_of(number)) == ("", "", "")
    assert render_clips() == 4
    assert sorted(text for _, text, _ in speech.asked) == sorted([HELLO, FILLER, SORRY, LOST])
    assert set(speech.voices) == {"coral"}
    assert render_clips() == 0
    assert len(speech.asked) == 4
    plan = plan_of(number)
    assert spoken(plan) == (HELLO, FILLER, LOST)
    assert plan.greeting.mode == "exact"
    assert plan.lead_in_ms == LEAD_IN_MS == 200
    rows = RenderedClip.objects.filter(kind="greeting")
    assert [bytes(row.audio_mulaw or b"") for row in rows] == [encode(HELLO)]


def test_a_person_who_can_be_reached_changes_what_is_said_when_the_model_fails(
    number: PhoneNumber,
) -> None:
    render_clips()
    number.operator_desk = factories.make_desk(number.organisation, always_open=True)
    number.save()
    assert plan_of(number).person.reachable
    assert spoken(plan_of(number))[2] == SORRY


def test_the_numbers_own_words_are_spoken_when_the_model_fails(number: PhoneNumber) -> None:
    number.fallback_message = "Please write to us."
    number.save()
    render_clips()
    assert spoken(plan_of(number))[2] == "Please write to us."


@pytest.mark.parametrize(
    ("language", "filler"), [("de", "Einen Moment, bitte."), ("it", ""), ("multi", "")]
)
def test_a_filler_is_spoken_in_the_assistants_language_or_left_to_the_model(
    language: str, filler: str
) -> None:
    line = filler_line(paper({"transcriber": {"provider": "deepgram", "language": language}}))
    assert (line.text if line is not None else "") == filler


@pytest.mark.parametrize(
    "text",
    [
        "Hello, you called {{ phoneNumber.name }}.",
        "It is {{time}}.",
        'Good {% assign h = "now" | date: "%H" %}{% if h < "12" %}morning{% else %}day{% endif %}.',
        "word " * 300,
    ],
)
def test_a_greeting_that_depends_on_the_call_or_is_long_is_not_rendered(text: str) -> None:
    document = {"firstMessage": text}
    assert greeting_problem(document, paper(document), timezone.now())


@pytest.mark.parametrize("own", [None, {"when": " now "}])
@pytest.mark.parametrize("hour", [1, 11, 22])
def test_a_greeting_that_asks_the_time_is_not_rendered_whatever_the_hour(
    own: dict[str, str] | None, hour: int
) -> None:
    word = "when" if own else '"now"'
    text = f"Good {{% assign h = {word} | date: '%H' %}}{{% if h < '12' %}}morning{{% endif %}}."
    document = {"firstMessage": text, "variableValues": own or {}}
    moment = dt.datetime(2026, 3, 5, hour, 57, tzinfo=dt.UTC)
    assert greeting_problem(document, paper(document), moment)


def test_a_greeting_that_says_today_in_its_own_words_is_rendered() -> None:
    document = {"firstMessage": "{{clinic}}, how can I help you today?"}
    document |= {"variableValues": {"clinic": "Harbour"}}
    assert not greeting_problem(document, paper(document), timezone.now())


def test_a_greeting_that_names_the_caller_is_asked_of_the_model(speech: SpeechServer) -> None:
    number = answering(firstMessage="Hello {{customer.number}}.")
    render_clips()
    plan = plan_of(number)
    assert spoken(plan) == ("", FILLER, LOST)
    assert plan.greeting.text.startswith("Hello +1")
    assert plan.filler.asked
    assert not RenderedClip.objects.filter(kind="greeting").exists()


def test_a_greeting_with_words_of_its_own_document_is_rendered_with_them(
    speech: SpeechServer,
) -> None:
    number = answering(
        firstMessage="Hello, this is {{clinic}}{{unknown}}, {{customer}}.",
        variableValues={"clinic": "Harbour", "customer": "friend"},
    )
    render_clips()
    assert spoken(plan_of(number))[0] == "Hello, this is Harbour, friend."


def test_the_names_of_a_call_are_those_that_liquid_is_given(number: PhoneNumber) -> None:
    call = factories.make_call(number=number)
    assert call.revision is not None
    call.revision.document = None
    assert variables_for(call).keys() == CALL_NAMES | clock_variables(timezone.now()).keys()


@pytest.mark.parametrize(
    "mode",
    ["assistant-waits-for-user", "assistant-speaks-first-with-model-generated-message"],
)
def test_the_other_modes_have_no_greeting_to_render(speech: SpeechServer, mode: str) -> None:
    number = answering(firstMessageMode=mode)
    render_clips()
    plan = plan_of(number)
    assert spoken(plan)[0] == ""
    assert plan.lead_in_ms == (0 if "waits" in mode else LEAD_IN_MS)


def test_t18b_nothing_is_put_before_sound_that_is_not_the_first(number: PhoneNumber) -> None:
    assert plan_of(number, policy_played_at=timezone.now()).lead_in_ms == 0
    assert plan_of(number, direction="web").lead_in_ms == 0
    call = factories.make_call(number=number, stream_count=2, turns=[{"text": "Hi"}])
    assert plan_for(call).lead_in_ms == 0


def test_the_pace_of_the_assistant_is_the_pace_of_its_clips(
    speech: SpeechServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(voice={"provider": "openai", "voiceId": "marin", "speed": 1.2})
    paces: list[float] = []

    def speak(*_: Any, speed: float) -> bytes:
        paces.append(speed)
        return b"\xff"

    monkeypatch.setattr(clip_render, "speech_render", speak)
    assert render_clips() == 4
    assert set(paces) == {1.2}


# -- what is paid for -----------------------------------------------------------------------------


def test_a_new_revision_pays_only_for_words_that_are_new(
    number: PhoneNumber, speech: SpeechServer
) -> None:
    render_clips()
    speech.asked.clear()
    published_again(number, first_message="Good day.")
    assert spoken(plan_of(number)) == ("", "", "")
    assert render_clips() == 4
    assert [text for _, text, _ in speech.asked] == ["Good day."]
    assert spoken(plan_of(number)) == ("Good day.", FILLER, LOST)


def test_another_organisation_pays_for_itself(number: PhoneNumber, speech: SpeechServer) -> None:
    render_clips()
    answering(factories.make_organisation())
    speech.asked.clear()
    assert render_clips() == 4
    assert len(speech.asked) == 4


def test_a_revision_that_nobody_can_call_is_not_rendered(speech: SpeechServer) -> None:
    published()
    number = answering()
    number.route = PhoneNumber.Route.VAPI
    number.save()
    assert render_clips() == 0
    assert speech.asked == []


def test_what_a_call_lacked_is_there_for_the_next_one(number: PhoneNumber) -> None:
    render_clips()
    voice_decide(
        organisation=number.organisation,
        provider="11labs",
        voice_id="sarah",
        realtime_voice="sage",
        actor=None,
    )
    assert spoken(plan_of(number)) == ("", "", "")
    assert render_clips() == 4
    assert spoken(plan_of(number)) == (HELLO, FILLER, LOST)
    assert set(RenderedClip.objects.values_list("voice", flat=True)) == {"coral", "sage"}


def test_another_speech_model_is_another_sound(number: PhoneNumber) -> None:
    render_clips()
    ProviderConnection.objects.update(speech_model="another-tts")
    number.refresh_from_db()
    assert spoken(plan_of(number)) == ("", "", "")
    assert render_clips() == 4
    assert spoken(plan_of(number)) == (HELLO, FILLER, LOST)


def test_lines_of_revisions_that_answer_no_more_are_dropped_in_time(number: PhoneNumber) -> None:
    render_clips()
    published_again(number, first_message="Good day.")
    render_clips()
    assert RenderedClip.objects.count() == 8
    RenderedClip.objects.update(created_at=timezone.now() - dt.timedelta(days=8))
    render_clips()
    assert RenderedClip.objects.count() == 4
    assert spoken(plan_of(number))[0] == "Good day."


# -- what fails -----------------------------------------------------------------------------------


def test_a_failure_says_why_and_is_tried_again_later(
    number: PhoneNumber, speech: SpeechServer
) -> None:
    speech.status["*"] = 401
    assert render_clips() == 0
    assert len(speech.asked) == 4
    clip = RenderedClip.objects.filter(kind="greeting").get()
    assert "answered 401" in clip.render_error
    assert "put a valid key" in clip.render_error
    assert "sk-" not in clip.render_error
    assert spoken(plan_of(number)) == ("", "", "")
    speech.status.clear()
    assert render_clips() == 0  # not yet
    later(1)
    assert render_clips() == 4
    clip.refresh_from_db()
    assert (clip.render_error, clip.due_at, clip.attempts) == ("", None, 0)


def test_it_waits_longer_after_each_failure(number: PhoneNumber, speech: SpeechServer) -> None:
    speech.status["*"] = 0
    waits = []
    for _ in range(7):
        render_clips()
        clip = RenderedClip.objects.filter(kind="greeting").get()
        assert clip.due_at is not None
        waits.append(round((clip.due_at - timezone.now()).total_seconds() / 60))
        later(waits[-1] + 1)
    assert waits == [1, 5, 30, 120, 360, 360, 360]


def test_what_the_endpoint_will_never_take_is_not_tried_again(
    number: PhoneNumber, speech: SpeechServer
) -> None:
    speech.status["*"] = 400
    render_clips()
    assert not RenderedClip.objects.filter(due_at__isnull=False).exists()
    revision = AssistantRevision.objects.get()
    speech.status.clear()
    assert clips_again(revision=revision, actor=None) == 4
    assert render_clips() == 4


def test_a_worker_that_dies_leaves_its_line_to_the_next(
    number: PhoneNumber, speech: SpeechServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: Any, **__: Any) -> bytes:
        raise Killed

    clips_want(AssistantRevision.objects.get())
    with monkeypatch.context() as patch:
        patch.setattr(clip_render, "speech_render", die)
        with pytest.raises(Killed):
            render_clips()
    assert render_clips() == 3  # nobody else takes the one that is claimed
    later(2)
    assert render_clips() == 1


def test_two_workers_who_read_the_same_line_never_pay_twice(number: PhoneNumber) -> None:
    clips_want(AssistantRevision.objects.get())
    one, other = (RenderedClip.objects.get(kind="greeting") for _ in range(2))
    assert clip_claim(one)
    assert not clip_claim(other)


def test_every_revision_has_its_turn(
    number: PhoneNumber, speech: SpeechServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [answering() for _ in range(2)]
    monkeypatch.setattr(clip_render, "_BATCH", 1)
    for _ in range(3):
        render_clips()
    assert [spoken(plan_of(each))[0] for each in (number, *others)] == [HELLO] * 3


# -- the page -------------------------------------------------------------------------------------


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(factories.make_staff(None, "all", username="ada"))
    return client


def page_url(name: str = "change") -> str:
    revision = AssistantRevision.objects.order_by("-number")[0]
    return reverse(f"admin:assistants_assistantrevision_{name}", args=[revision.pk])


def test_the_page_of_a_revision_says_what_is_ready_and_lets_hear_it(
    staff: Client, number: PhoneNumber
) -> None:
    before = staff.get(page_url()).content.decode()
    assert "Nothing is rendered for this revision" in before
    assert "Render now" in before
    render_clips()
    after = staff.get(page_url()).content.decode()
    assert after.count("<audio") == 4
    assert "Render again" in after
    assert HELLO in after
    clip = RenderedClip.objects.filter(kind="greeting").get()
    sound = staff.get(reverse("admin:calls_renderedclip_audio", args=[clip.pk]))
    assert (sound.status_code, sound["Content-Type"]) == (200, "audio/wav")
    assert sound.content == wav_of_mulaw(encode(HELLO))


def test_the_page_says_why_a_line_failed_and_renders_it_again(
    staff: Client, number: PhoneNumber, speech: SpeechServer
) -> None:
    speech.status["*"] = 429
    render_clips()
    page = staff.get(page_url()).content.decode()
    assert "answered 429" in page
    assert "Tried again at" in page
    speech.status.clear()
    assert staff.get(page_url("clips")).status_code == 405
    answer = staff.post(page_url("clips"), follow=True)
    assert "4 lines are rendered" in answer.content.decode()
    assert AuditEntry.objects.filter(action="assistant.render_clips").count() == 1
    assert render_clips() == 4


def test_what_sounds_wrong_is_spoken_anew_and_used_until_then(
    staff: Client, number: PhoneNumber, speech: SpeechServer
) -> None:
    render_clips()
    speech.asked.clear()
    staff.post(page_url("clips"))
    assert spoken(plan_of(number)) == (HELLO, FILLER, LOST)
    assert "is being rendered anew" in staff.get(page_url()).content.decode()
    assert render_clips() == 4
    assert len(speech.asked) == 4


def test_who_may_only_look_cannot_have_it_rendered(client: Client, number: PhoneNumber) -> None:
    viewer = factories.make_staff(None, ["assistants.view_assistantrevision"])
    client.force_login(viewer)
    page = client.get(page_url())
    assert page.status_code == 200
    assert "Render now" not in page.content.decode()
    assert client.post(page_url("clips")).status_code == 403


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"firstMessageMode": "assistant-waits-for-user"}, "The caller speaks first."),
        ({"firstMessage": "Hi {{customer.number}}"}, "It depends on the call"),
    ],
)
def test_the_page_says_why_a_greeting_is_not_rendered(
    staff: Client, speech: SpeechServer, fields: dict[str, Any], words: str
) -> None:
    answering(**fields)
    assert words in staff.get(page_url()).content.decode()


def test_without_a_connection_the_page_names_the_fix(staff: Client, speech: SpeechServer) -> None:
    published()
    answer = staff.post(page_url("clips"), follow=True)
    assert "open a model connection" in answer.content.decode()


def test_a_talk_to_a_revision_without_numbers_can_have_clips_of_the_default_connection(
    speech: SpeechServer,
) -> None:
    organisation = factories.default_organisation()
    factories.make_connection(organisation, is_default=True)
    revision = published().current_revision
    assert revision is not None
    assert clips_again(revision=revision, actor=None) == 4
    assert render_clips() == 4


def test_render_session_says_whether_the_greeting_is_rendered(number: PhoneNumber) -> None:
    assistant = number.assistant
    assert assistant is not None

    def shown(**variables: Any) -> str:
        found = preview_stored(
            organisation=number.organisation, assistant_id=assistant.pk, variables=variables
        )
        return found.greeting_audio

    assert shown() == NOT_RENDERED
    render_clips()
    assert shown() == RENDERED
    published_again(number, first_message="Hi {{customer.number}}.")
    assert "depends on the call" in shown(customer={"number": "+15550100001"})


def test_nothing_secret_reaches_the_rows(number: PhoneNumber, speech: SpeechServer) -> None:
    speech.status["*"] = 401
    render_clips()
    stored = str(list(RenderedClip.objects.values()))
    connection = number.connection
    assert connection is not None
    assert connection.api_key not in stored
