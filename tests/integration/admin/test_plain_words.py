"""Pages for people who are no programmers: hints above lists, names instead of ids, plain words."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(factories.make_superuser())
    return client


def page(client: Client, name: str, *arguments: object) -> str:
    return str(client.get(reverse(f"admin:{name}", args=arguments)).content.decode())


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("assistants_squad", "hand a call on to each other"),
        ("assistants_storedresource", "without effect on calls"),
        ("assistants_importrun", "Begin one under Assistants"),
        ("assistants_voicechoice", "hear the candidates"),
        ("base_unknownroute", "nothing was missed"),
        ("base_apikey", "shown once"),
        ("base_job", "go on when the page is closed"),
        ("calls_numberreadiness", "No check has ended yet"),
        ("calls_migrationplan", "Move the numbers here with the route Vapi first"),
        ("calls_noticereceiver", "Nobody is told of incidents yet"),
    ],
)
def test_a_list_says_what_stands_in_it_even_when_it_is_empty(
    admin: Client, model: str, words: str
) -> None:
    html = page(admin, f"{model}_changelist")
    assert words in html
    assert "Nothing here yet" in html
    url = reverse(f"admin:{model}_changelist")
    assert "Nothing matches" in admin.get(url, {"q": "no such thing"}).content.decode() or (
        model == "assistants_importrun"  # has no search
    )


def test_a_squad_is_told_by_the_names_of_its_members(admin: Client) -> None:
    organisation = factories.make_organisation()
    desk, bills = (factories.make_assistant(organisation, name=n) for n in ("Desk", "<b>Bills"))
    stranger = factories.make_assistant(name="Stranger")
    squad = factories.make_squad(
        organisation,
        members=[
            {
                "assistantId": str(desk.pk),
                "assistantDestinations": [
                    {"assistantId": str(bills.pk), "description": "<i>money"}
                ],
            },
            {"assistantId": str(stranger.pk)},
        ],
    )
    html = page(admin, "assistants_squad_change", squad.pk)
    assert "<li>1. Desk<" in html
    assert "hands on to &lt;b&gt;Bills when: &lt;i&gt;money" in html
    assert "Stranger" not in html  # another organisation's


def test_the_scopes_of_a_key_and_the_kind_of_a_job_are_words(admin: Client) -> None:
    row, _ = factories.make_api_key(scopes=("read", "write"))
    html = page(admin, "base_apikey_change", row.pk)
    assert "read, write" in html
    assert "[&#x27;read&#x27;" not in html
    factories.make_job(kind="voice-samples")
    assert "Voice samples" in page(admin, "base_job_changelist")


def test_a_state_reads_the_same_on_a_rows_own_page_as_in_its_list(admin: Client) -> None:
    number = factories.make_number(factories.make_organisation())
    move = factories.make_move(number)
    own = page(admin, "calls_numbermove_change", move.pk)
    assert "waits for its first caller" in own.lower() or "done" in own
    assert "(&#x27;" not in own
