"""What keeps a live run from placing calls, each with its reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from assistants.models import ImportedObject
from calls.models import PhoneNumber
from calls.numbers.switch.voice import Target
from calls.services.live_checks import live_problem, twilio_problem
from calls.services.live_tools import confirmation, old_tools_called, tools_words
from calls.services.number_routes import previous_set
from calls.services.parity_runs import RunRefused, run_begin
from calls.telephony.twilio_rest import TwilioRest
from tests import factories
from voiceplatform.base import http

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

FROM = "+15550108888"
OURS = "https://voice.example.com/twilio/voice"


def line(**columns: Any) -> PhoneNumber:
    assistant = factories.make_assistant(tools=[factories.make_tool(name="book")])
    number = factories.make_number(**{"assistant": assistant, "route": "vapi", **columns})
    previous_set(number, Target("url", url="https://api.vapi.ai/twilio/inbound_call"))
    return number


def options(number: PhoneNumber) -> dict[str, Any]:
    assert number.assistant is not None and number.assistant.current_revision is not None
    return {"caller": FROM, **confirmation(number.assistant.current_revision, number, "Jo Ops")}


def problem(number: PhoneNumber | None, **given: Any) -> str:
    assistant = given.pop("assistant", None) or (number.assistant if number else None)
    assistant = assistant or factories.make_assistant()
    return live_problem(
        **{
            "assistant": assistant,
            "revision": assistant.current_revision,
            "number": number,
            "model": "",
            "options": options(number) if number is not None else {},
            **given,
        }
    )


def test_a_number_with_a_way_to_both_stacks_may_be_called() -> None:
    assert problem(line()) == ""
    assert problem(line(route="canary", canary_percent=10)) == ""
    assert problem(line(route="direct")) == ""


def test_the_run_must_name_a_number_that_the_assistant_answers_now() -> None:
    number = line()
    assert "calls a number" in problem(None)
    assert "another assistant" in problem(number, assistant=factories.make_assistant())
    assert number.assistant is not None
    old = number.assistant.current_revision
    factories.make_revision(number.assistant)
    assert "current revision" in problem(number, revision=old)
    assert "own model" in problem(line(), model="gpt-realtime-other")
    assert "squad" in problem(line(squad=factories.make_squad()))


def test_it_must_be_known_from_which_number_of_ours_to_call() -> None:
    number = line()
    given = options(number)
    assert "from which number" in problem(number, options={**given, "caller": ""})
    assert "from which number" in problem(number, options={**given, "caller": "911"})
    same = problem(number, options={**given, "caller": number.number_e164})
    assert "cannot call itself" in same


def test_tools_are_really_called_so_somebody_must_have_confirmed_each_by_name() -> None:
    number = line()
    told = problem(number, options={"caller": FROM})
    assert "really call their tools. Ours: book at tools.example.com." in told
    assert "which was never imported here" in told
    assert number.assistant is not None
    given = options(number)
    number.assistant.current_revision.tools.add(  # type: ignore[union-attr]
        factories.make_tool(name="pay"), through_defaults={"position": 9}
    )
    assert "pay at tools.example.com" in problem(number, options=given)


def imported(number: PhoneNumber, document: dict[str, Any]) -> None:
    """Say that the assistant came from Vapi as ``document``, and was changed here since."""
    assistant = number.assistant
    assert assistant is not None and assistant.current_revision is not None
    ours = assistant.current_revision
    assistant.imported_revision = factories.make_revision(
        assistant, source="import", document=document
    )
    assistant.current_revision = ours
    assistant.save()


def test_the_old_stacks_tools_are_those_of_the_imported_original_and_each_has_its_host() -> None:
    number = line()
    saved = factories.make_tool(name="renamed_here", server_url_host="ours.example.com")
    ImportedObject.objects.create(
        organisation=saved.organisation,
        kind="tool",
        object_id=saved.pk,
        document={
            "type": "function",
            "function": {"name": "find_client"},
            "server": {"url": "https://crm.example.net/find"},
        },
    )
    lost = "00000000-0000-4000-8000-00000000beef"
    imported(
        number,
        {
            "server": {"url": "https://old.example.org/vapi?token=secret"},
            "model": {
                "toolIds": [str(saved.pk), lost],
                "tools": [
                    {"type": "function", "function": {"name": "book_slot"}},
                    {"type": "apiRequest", "name": "pay", "url": "https://pay.example.org/v1"},
                    {"type": "endCall"},
                ],
                "functions": [{"name": "older", "serverUrl": "https://older.example.org/f"}],
            },
        },
    )
    assert number.assistant is not None
    assert old_tools_called(number.assistant) == [
        f"{lost} (only its id is known)",
        "book_slot at old.example.org",
        "endCall",
        "find_client at crm.example.net",
        "older at older.example.org",
        "pay at pay.example.org",
    ]
    told = problem(number, options={"caller": FROM})
    assert "Ours: book at tools.example.com. The old stack: 0000" in told
    assert "pay at pay.example.org" in told and "secret" not in told


def test_whoever_confirms_reads_every_tool_and_a_refusal_names_some() -> None:
    many = [f"tool_{number:02}" for number in range(12)]
    assert tools_words(many, []).startswith(f"Ours: {', '.join(many)}. The old stack: none.")
    assert "tool_09 and 2 more. The" in tools_words(many, many[:1], most=10)
    assert tools_words([], []) == ""


def test_a_confirmation_is_void_when_either_stacks_tools_or_their_hosts_change() -> None:
    number = line()
    old = {"type": "function", "function": {"name": "book"}, "server": {"url": "https://a.test/"}}
    imported(number, {"model": {"tools": [old]}})
    given = options(number)
    assert problem(number, options=given) == ""
    imported(number, {"model": {"tools": [{**old, "server": {"url": "https://b.test/"}}]}})
    assert "changed since they were confirmed" in problem(number, options=given)
    given = options(number)
    imported(number, {"model": {"tools": []}})
    assert "changed since they were confirmed" in problem(number, options=given)
    given = options(number)
    assert number.assistant is not None and number.assistant.current_revision is not None
    number.assistant.current_revision.tools.update(server_url_host="c.test")
    assert "book at c.test" in problem(number, options=given)
    # One of before the old stack's tools were asked for.
    earlier = {"caller": FROM, "tools_confirmed": {"by": "Jo Ops", "tools": ["book"]}}
    assert "changed since" in problem(number, options=earlier)


MARS: dict[str, Any] = {"from": "08:00", "to": "21:00", "zone": "Mars/Olympus"}
REFUSED: tuple[tuple[str, Callable[[], PhoneNumber]], ...] = (
    ("paused", lambda: line(route="paused")),
    ("has not been reviewed", lambda: line(policy=factories.make_policy(reviewed=False))),
    ("asks each caller", lambda: line(policy=factories.make_policy(recording_consent="ask"))),
    ("no time zone", lambda: line(policy=factories.make_policy(calling_hours=MARS))),
    ("health", lambda: line(health_data=True)),
)


@pytest.mark.parametrize(("words", "make"), REFUSED, ids=[words for words, _ in REFUSED])
def test_what_else_forbids_it(words: str, make: Callable[[], PhoneNumber]) -> None:
    assert words in problem(make())


def test_a_number_without_a_known_old_stack_has_no_way_to_it() -> None:
    number = factories.make_number()
    assert "cannot be handed to the old stack" in problem(number)


def test_a_move_that_is_under_way_is_not_disturbed() -> None:
    number = line()
    factories.make_move(number, finished_at=None)
    assert "a move of the number" in problem(number)


def listed(number: str, **fields: Any) -> dict[str, Any]:
    voice = {"voice_url": OURS, "voice_method": "POST"}
    return {"sid": factories.sid("PN"), "phone_number": number, **voice, **fields}


@pytest.mark.parametrize(
    ("words", "called", "calling"),
    [
        ("", {}, {}),
        ("do not come here", {"voice_url": "https://api.vapi.ai/twilio/inbound_call"}, {}),
        ("do not come here", {"trunk_sid": "TK" + "1" * 32}, {}),
        ("", {"voice_url": f"{OURS}#rc=0"}, {}),
        ("not in its Twilio account", None, {}),
        ("not one of the same Twilio account", {}, None),
        ("cannot place calls", {}, {"capabilities": {"voice": False}}),
    ],
)
def test_twilio_is_asked_whose_both_numbers_are_and_where_calls_go(
    words: str, called: dict[str, Any] | None, calling: dict[str, Any] | None
) -> None:
    number = line()
    rows = [listed(number.number_e164, **called)] if called is not None else []
    rows += [listed(FROM, **calling)] if calling is not None else []

    class Wire(http.BaseTransport):
        def handle_request(self, request: http.Request) -> http.Response:
            asked = request.url.params["PhoneNumber"]
            found = [row for row in rows if row["phone_number"] == asked]
            return http.Response(200, json={"incoming_phone_numbers": found, "next_page_uri": None})

    run = factories.make_run(number.assistant, kind="live", number=number, options={"caller": FROM})
    with TwilioRest(number.twilio_account, transport=Wire()) as rest:
        found = twilio_problem(run, number, rest)
    assert (words in found) if words else found == ""


def test_a_run_that_may_not_call_is_refused_before_it_has_a_row() -> None:
    number = line(policy=factories.make_policy(reviewed=False))
    assert number.assistant is not None
    given: dict[str, Any] = {
        "kind": "live",
        "assistant": number.assistant,
        "number": number,
        "documents": {"one": {"caller": [{"say": "Hello."}]}},
        "pairs": 2,
        "actor": "system",
        "tells_workers": False,
        "options": options(number),
    }
    with pytest.raises(RunRefused, match="reviewed"):
        run_begin(**given)
    assert number.assistant.parity_runs.count() == 0
    assert number.policy is not None
    number.policy.reviewed_at = timezone.now()
    number.policy.save()
    run = run_begin(**given, parallel=40)
    assert (run.parallel, run.wanted, run.calls.count()) == (5, 2, 4)
