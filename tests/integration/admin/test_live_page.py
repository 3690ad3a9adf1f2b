"""The page of live calls: who sees what of it, what is audited, and what its buttons do."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from calls.models import Call, CallControl
from calls.services.live_control import control_settle, control_wait, controls_take
from tests import factories
from voiceplatform.base.models import AuditEntry, Organisation

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

WATCHES, READS, CONTROLS = "calls.watch_calls", "calls.view_transcript", "calls.control_calls"
PAGE = "admin:calls_call_live"
ROWS = "admin:calls_call_live_rows"
CALLER = "+14155550177"


def live(organisation: Organisation, **columns: Any) -> Call:
    """Make a call that goes on, with words and a running tool."""
    defaults: dict[str, Any] = {
        "caller": CALLER,
        "turns": [{"text": f"words {n}"} for n in range(12)],
        "tool_invocations": [{"name": "look_up", "state": "running"}],
    }
    return factories.make_call(organisation, **{**defaults, **columns})


def sign_in(client: Client, organisation: Organisation, *permissions: str) -> None:
    client.force_login(factories.make_staff(organisation, permissions))


def test_the_page_shows_calls_that_go_on_with_their_newest_words(client: Client) -> None:
    organisation = factories.make_organisation()
    call = live(organisation)
    live(organisation, status="ended", caller="+14155550188")
    sign_in(client, organisation, WATCHES, READS, CONTROLS)
    text = client.get(reverse(PAGE)).content.decode()
    assert text.count('class="vp-card vp-live-call"') == 1
    assert call.number is not None and call.number.name in text
    assert CALLER in text and "+14155550188" not in text
    assert "tool look_up" in text
    assert "words 11" in text and "words 4" in text and "words 3<" not in text
    assert text.count('name="command"') == 3


def test_each_permission_opens_its_own_part(client: Client) -> None:
    organisation = factories.make_organisation()
    live(organisation)
    sign_in(client, organisation, "calls.view_call")
    assert client.get(reverse(PAGE)).status_code == 403
    assert client.get(reverse(ROWS)).status_code == 403
    sign_in(client, organisation, WATCHES)
    answer = client.get(reverse(PAGE))
    text = answer.content.decode()
    assert [call.turns for call in answer.context["calls"]] == [[]]  # not even to the template
    assert "•••• 77" in text
    assert CALLER not in text and "words" not in text and 'name="command"' not in text
    assert READS in text and CONTROLS in text


def test_whose_words_were_shown_is_audited_once_per_view(client: Client) -> None:
    organisation = factories.make_organisation()
    first = live(organisation)
    sign_in(client, organisation, WATCHES)
    client.get(reverse(PAGE))
    assert not AuditEntry.objects.filter(action="transcript.view").exists()
    sign_in(client, organisation, WATCHES, READS)
    client.get(reverse(PAGE))
    client.get(reverse(ROWS))
    second = live(organisation)
    client.get(reverse(ROWS))
    client.get(reverse(ROWS))
    entries = AuditEntry.objects.filter(action="transcript.view").order_by("id")
    assert [entry.details["calls"] for entry in entries] == [[str(first.pk)], [str(second.pk)]]
    assert {entry.organisation for entry in entries} == {organisation}
    client.get(reverse(PAGE))
    assert entries.all().count() == 3


def test_other_organisations_calls_are_neither_seen_nor_reached(client: Client) -> None:
    organisation, other = factories.make_organisation(), factories.make_organisation()
    call = live(other)
    sign_in(client, organisation, WATCHES, READS, CONTROLS)
    assert str(call.pk) not in client.get(reverse(ROWS)).content.decode()
    url = reverse("admin:calls_call_control", args=[call.pk])
    assert client.post(url, {"command": "end-call"}).status_code == 404
    assert not CallControl.objects.exists()


@pytest.mark.parametrize(
    ("form", "kind", "command"),
    [
        ({"command": "end-call"}, "end-call", {}),
        ({"command": "say", "text": "Hi", "at_once": "1"}, "say", {"interrupts": True}),
        ({"command": "transfer", "to": "+1 415 555 0123"}, "transfer", {"dial_to": "+14155550123"}),
        (
            {"command": "transfer", "to": "sip:desk@pbx.example.com"},
            *("transfer", {"dial_to": "sip:desk@pbx.example.com"}),
        ),
    ],
)
def test_a_button_leaves_a_command_and_says_what_came_of_it(
    form: dict[str, str],
    kind: str,
    command: dict[str, Any],
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    organisation = factories.make_organisation()
    call = live(organisation)

    def carried_out(row: CallControl) -> CallControl:
        (taken,) = controls_take(call_ids={str(call.pk)})
        control_settle(control_id=taken.control_id, refusal="")
        return control_wait(row)

    monkeypatch.setattr("calls.admin.live_page.control_wait", carried_out)
    user = factories.make_staff(organisation, (WATCHES, CONTROLS))
    client.force_login(user)
    url = reverse("admin:calls_call_control", args=[call.pk])
    answer = client.post(url, form, headers={"accept": "application/json"})
    assert answer.json() == {"done": True, "words": "Done."}
    row = CallControl.objects.get()
    assert (row.kind, row.actor, row.state) == (kind, f"user:{user.get_username()}", "done")
    assert command.items() <= row.command.items()
    assert AuditEntry.objects.filter(action="call.control", target_id=str(call.pk)).count() == 1


def test_what_cannot_be_done_is_said_in_words(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_wait, "__kwdefaults__", {"seconds": 0.0})
    organisation = factories.make_organisation()
    call, over = live(organisation), live(organisation, status="ended")
    sign_in(client, organisation, WATCHES, CONTROLS)

    def say(target: Call, **form: str) -> str:
        url = reverse("admin:calls_call_control", args=[target.pk])
        answer = client.post(url, form, headers={"accept": "application/json"}).json()
        assert answer["done"] is False
        return str(answer["words"])

    assert say(over, command="end-call") == "The call is over."
    assert "Nothing was done. Try again." in say(call, command="end-call")
    assert "emergency" in say(call, command="transfer", to="911")
    assert "content should not be empty" in say(call, command="say", text=" ")
    assert "type must be one of" in say(call, command="dance")


def test_the_buttons_need_the_permission_a_post_and_a_call(client: Client) -> None:
    organisation = factories.make_organisation()
    call = live(organisation)
    url = reverse("admin:calls_call_control", args=[call.pk])
    sign_in(client, organisation, WATCHES, READS, "calls.change_call")
    assert client.post(url, {"command": "end-call"}).status_code == 403
    sign_in(client, organisation, WATCHES, CONTROLS)
    assert client.get(url).status_code == 405
    missing = reverse("admin:calls_call_control", args=[uuid.uuid4()])
    assert client.post(missing, {"command": "end-call"}).status_code == 404
    assert not CallControl.objects.exists()


def test_markup_in_what_is_said_is_text(client: Client) -> None:
    organisation = factories.make_organisation()
    planted = "<img src=x onerror=alert(1)>{{ 7 }}<script>alert(1)</script>"
    live(organisation, turns=[{"text": planted}], caller=planted[:80])
    sign_in(client, organisation, WATCHES, READS)
    for url in (PAGE, ROWS):
        text = client.get(reverse(url)).content.decode()
        assert "<img src=x" not in text and "&lt;img src=x" in text


def test_a_page_of_many_calls_asks_few_questions(
    client: Client, django_assert_max_num_queries: Any
) -> None:
    organisation = factories.make_organisation()
    number = factories.make_number(organisation)
    for _ in range(6):
        live(organisation, number=number)
    sign_in(client, organisation, WATCHES, READS, CONTROLS)
    client.get(reverse(ROWS))
    with django_assert_max_num_queries(12):
        rows = client.get(reverse(ROWS)).content.decode()
    assert rows.count("data-call=") == 6
