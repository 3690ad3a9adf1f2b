"""Why a call failed: every recorded trouble with its cause and fix, and nothing that was said."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from calls.admin.words import is_failure
from calls.bridge.reasons import FATAL_CODES, EndCause
from calls.doctor.explain import STREAM_CODES, explain
from calls.doctor.model_faults import FAULTS
from calls.models import Call
from calls.telephony import signed
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def _call(**columns: Any) -> Call:
    return factories.make_call(
        **{"status": "ended", "ended_reason": "customer-ended-call"} | columns
    )


def _whats(call: Call) -> list[tuple[str, str]]:
    return [(each.where, each.what) for each in explain(call)]


def test_a_call_that_went_well_only_says_who_answered() -> None:
    assert _whats(_call(route_reason="route direct")) == [("who answered", "route direct")]


@pytest.mark.parametrize(
    "cause", [cause for cause in EndCause if is_failure(cause.ended_reason)], ids=lambda c: c.name
)
def test_every_way_to_break_has_a_cause_and_a_fix(cause: EndCause) -> None:
    (finding, *_) = explain(_call(ended_reason=cause.ended_reason))
    assert finding.what == cause.ended_reason
    assert finding.cause
    assert finding.fix


def test_every_code_that_never_heals_is_explained() -> None:
    assert FATAL_CODES <= FAULTS.keys()


def test_twilio_s_codes_are_told_once_each_and_unknown_ones_by_address() -> None:
    call = _call(
        metrics={
            "stream_errors": ["31920 handshake", "Stream error 31920", "31999 new", "no code"],
            "twilio_error": "11200",
        }
    )
    found = {each.what: each for each in explain(call)}
    assert set(found) == {"31920", "31999", "11200", "no code"}
    assert found["31920"].fix == STREAM_CODES["31920"].fix
    assert found["31999"].fix.endswith("/31999.")


def test_the_model_s_error_its_close_and_counters_are_told_but_no_words() -> None:
    call = _call(
        metrics={
            "streams": [
                {
                    "notes": {"realtime_error": "insufficient_quota", "realtime_close": "1006"},
                    "counters": {"dead_air": 2, "frames": 9},
                },
                {"notes": {"realtime_error": "my name is Ann Lee"}, "counters": {"dead_air": 1}},
            ]
        }
    )
    assert _whats(call) == [
        ("the model", "insufficient_quota"),
        ("the model", "close_1006"),
        ("during the call", "dead_air 3"),
    ]
    assert "Ann" not in str(explain(call))


def test_tools_that_failed_and_reports_that_were_given_up_are_told() -> None:
    call = _call(
        tool_invocations=[
            {"name": "book", "state": "timeout", "output": "Ann Lee"},
            {"name": "book", "state": "timeout"},
            {"name": "look", "state": "ok"},
        ]
    )
    factories.make_event(call=call, state="dead", kind="call.ended")
    assert _whats(call) == [("a tool", "book: timeout 2"), ("a report", "call.ended")]
    assert "Ann" not in str(explain(call))


def test_the_page_is_linked_from_the_call_and_from_the_list_of_failed_ones(client: Client) -> None:
    call = _call(
        ended_reason=EndCause.STREAM_LOST.ended_reason,
        metrics={"stream_errors": ["31903 <script>alert(1)</script>", "<b>odd</b>"]},
        turns=[{"text": "My name is Ann Lee"}],
    )
    client.force_login(factories.make_staff(call.organisation, ["calls.view_call"]))
    why = reverse("admin:calls_call_why", args=[call.pk])
    assert why in client.get(reverse("admin:calls_call_change", args=[call.pk])).content.decode()
    failed = client.get(reverse("admin:calls_call_changelist") + "?outcome=failed")
    assert why in failed.content.decode()
    page = client.get(why).content.decode()
    assert "31903" in page
    assert "&lt;b&gt;odd" in page
    assert "Ann Lee" not in page


@pytest.mark.django_db(transaction=True)
def test_a_refused_webhook_logs_the_address_that_was_hashed(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PUBLIC_BASE_URL = "https://voice.example.com"
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(signed.log, "warning", lambda event, **fields: seen.append(fields))
    account = factories.make_account()
    form = {"CallSid": factories.sid("CA"), "AccountSid": account.account_sid}
    query = "?token=abcdef0123456789"
    assert client.post("/twilio/voice" + query, form).status_code == 403
    (fields,) = seen
    assert fields["url"].startswith("https://voice.example.com/twilio/voice")
    assert fields["account_known"] is True
    assert "abcdef0123456789" not in fields["url"]
