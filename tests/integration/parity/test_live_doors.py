"""Live runs by the form and by the command: real tool calls want a name, and nothing is guessed."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from calls.models import ParityRun, PhoneNumber
from calls.numbers.switch.voice import Target
from calls.services.number_routes import previous_set
from calls.services.parity_reports import report_of
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

FROM = "+12025550188"
NUMBER = "+12025550143"


@pytest.fixture
def number() -> PhoneNumber:
    assistant = factories.make_assistant(
        name="Harbour", tools=[factories.make_tool(name="check_availability")]
    )
    ours = assistant.current_revision
    original = {"model": {"tools": [{"type": "function", "function": {"name": "find_slot"}}]}}
    factories.make_revision(assistant, source="import", document=original)
    assistant.current_revision = ours
    assistant.save()
    row = factories.make_number(assistant=assistant, route="vapi", number_e164=NUMBER)
    previous_set(row, Target("url", url="https://api.vapi.ai/twilio/inbound_call"))
    factories.make_scenario(assistant)
    return row


def given(number: PhoneNumber, **fields: Any) -> dict[str, Any]:
    return {
        "assistant": str(number.assistant_id),
        "number": str(number.pk),
        "kind": "live",
        "caller": "+1 (202) 555-0188",
        "pairs": "2",
        "parallel": "20",
        "cost_limit_usd": "5",
        **fields,
    }


def _shown(page: str) -> str:
    found = re.search(r'name="shown_tools" value="([0-9a-f]{64})"', page)
    assert found is not None
    return found[1]


def test_the_form_names_the_tools_and_wants_the_number_typed_once_more(
    client: Client, number: PhoneNumber
) -> None:
    boss = factories.make_superuser()
    client.force_login(boss)
    url = reverse("admin:calls_parityrun_add")
    told = client.post(url, given(number)).content.decode()
    assert "Ours: check_availability at tools.example.com. The old stack: find_slot." in told
    told = client.post(url, given(number, confirmed="+12025550199")).content.decode()
    assert "type the number that is called" in told
    no_caller = client.post(
        url, given(number, confirmed=NUMBER, caller=" ", shown_tools=_shown(told))
    )
    assert "not known from which number to call" in no_caller.content.decode()
    # Whoever types the number at once has not seen which tools that means.
    told = client.post(url, given(number, confirmed=NUMBER)).content.decode()
    assert "Ours: check_availability" in told
    shown = _shown(told)
    typed = given(number, confirmed="+1 202 555 0143", shown_tools=shown)
    assert number.assistant is not None and number.assistant.current_revision is not None
    tools = number.assistant.current_revision.tools
    tools.update(server_url_host="elsewhere.example.com")
    told = client.post(url, typed).content.decode()
    assert "check_availability at elsewhere.example.com" in told and _shown(told) != shown
    tools.update(server_url_host="tools.example.com")
    assert not ParityRun.objects.exists()
    answer = client.post(url, typed)
    assert answer.status_code == 302
    run = ParityRun.objects.get()
    assert (run.kind, run.number, run.parallel) == ("live", number, 5)
    assert run.options["caller"] == FROM
    assert run.options["tools_confirmed"] == {
        "by": boss.get_username(),
        "tools": ["check_availability at tools.example.com"],
        "old_tools": ["find_slot"],
    }
    assert run.calls.count() == 4
    notes = report_of(run, with_words=False).notes
    assert any(f"as {boss.get_username()} has confirmed" in note for note in notes)


def test_a_rehearsal_of_the_same_form_asks_for_none_of_it(
    client: Client, number: PhoneNumber
) -> None:
    client.force_login(factories.make_superuser())
    url = reverse("admin:calls_parityrun_add")
    assert client.post(url, given(number, kind="rehearsal", caller="")).status_code == 302
    assert "caller" not in ParityRun.objects.get().options


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("a live run calls a number", ()),
        ("answers no number", ("--number", "+15550109999")),
        ("not known from which number", ("--number", NUMBER)),
        ("Ours: check_availability at tools", ("--number", NUMBER, "--from", FROM)),
    ],
)
def test_the_command_says_what_a_live_run_lacks(
    number: PhoneNumber, words: str, options: tuple[str, ...]
) -> None:
    assert number.assistant is not None
    with pytest.raises(CommandError, match=r".") as refused:
        call_command(
            *("parity", "run", "--kind", "live", "--assistant", "Harbour", *options),
            stdout=io.StringIO(),
        )
    assert words in str(refused.value)
    assert refused.value.returncode == 2
    assert not ParityRun.objects.exists()


def test_a_run_whose_account_has_no_login_fails_with_its_reason_and_calls_nobody(
    number: PhoneNumber,
) -> None:
    account = number.twilio_account
    account.auth_token = ""
    account.save()
    errors = io.StringIO()
    with pytest.raises(SystemExit):
        call_command(
            *("parity", "run", "--kind", "live", "--assistant", "Harbour", "--pairs", "1"),
            *("--number", NUMBER, "--from", FROM, "--confirm-tools", "Jo Ops"),
            stdout=io.StringIO(),
            stderr=errors,
        )
    assert "Twilio account cannot be used" in errors.getvalue()
    run = ParityRun.objects.get()
    assert (run.state, run.calls.filter(dials__isnull=False).count()) == ("failed", 0)
