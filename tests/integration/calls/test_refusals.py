"""Requests refused for their signature: stored sparingly, shown with cause and fix, no body."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from calls.doctor.checks import _refusals
from calls.doctor.explain import explain
from calls.media.database import in_database
from calls.models import RefusedRequest
from calls.services.refusals import KEPT_ROWS, Cause, Refused, refusals_store
from calls.telephony import refusals as module
from calls.telephony.refusals import Refusals, refusals
from calls.telephony.security import PROBE_SIGNATURE
from tests import factories
from tests.integration.calls.rig import PUBLIC, TOKEN, Rig, sign, stream_path

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

VOICE = f"{PUBLIC}/twilio/voice"


def _rows() -> list[tuple[str, str, str, int]]:
    rows = RefusedRequest.objects.order_by("pk")
    return list(rows.values_list("cause", "url", "signed_url", "count"))


def test_one_row_for_an_account_address_cause_and_minute() -> None:
    account = factories.make_account()
    wrong = Refused(account.account_sid, "wrong", VOICE)
    now = timezone.now().replace(second=5)
    refusals_store(counts=[(wrong, 3)], now=now)
    refusals_store(counts=[(wrong, 4)], now=now.replace(second=50))
    refusals_store(
        counts=[(wrong, 1), (Refused(account.account_sid, "unsigned", VOICE), 2)],
        now=now + timedelta(minutes=1),
    )
    assert _rows() == [
        ("wrong", VOICE, "", 7),
        ("wrong", VOICE, "", 1),
        ("unsigned", VOICE, "", 2),
    ]


def test_of_each_account_only_the_newest_are_kept() -> None:
    account, other = factories.make_account(), factories.make_account()
    now = timezone.now()
    refusals_store(counts=[(Refused(other.account_sid, "wrong", VOICE), 1)], now=now)
    both: tuple[tuple[str, Cause], ...] = ((account.account_sid, "wrong"), ("", "unknown-account"))
    for sid, cause in both:
        kinds = [Refused(sid, cause, f"{VOICE}?n{n}=…") for n in range(KEPT_ROWS + 5)]
        for at, kind in enumerate(kinds):
            refusals_store(counts=[(kind, 1)], now=now + timedelta(seconds=at))
    assert RefusedRequest.objects.filter(account=account).count() == KEPT_ROWS
    assert RefusedRequest.objects.filter(account=None).count() == KEPT_ROWS
    assert RefusedRequest.objects.filter(account=other).count() == 1
    newest = RefusedRequest.objects.filter(account=account).first()
    assert newest is not None
    assert newest.url.endswith(f"n{KEPT_ROWS + 4}=…")


def test_a_row_belongs_to_the_account_s_organisation_and_names_no_call_of_another() -> None:
    theirs = factories.make_organisation()
    account = factories.make_account(theirs)
    call = factories.make_call()
    refusals_store(counts=[(Refused(account.account_sid, "wrong", VOICE, call_id=str(call.pk)), 1)])
    row = RefusedRequest.objects.get()
    assert (row.organisation, row.call) == (theirs, None)


def test_a_call_s_page_tells_what_was_refused_of_it_and_meanwhile() -> None:
    call = factories.make_call(status="ended", ended_at=timezone.now())
    sid, path = call.twilio_account.account_sid, f"{PUBLIC}/twilio/after-stream/{call.pk}"
    old = timezone.now() - timedelta(hours=3)
    refusals_store(counts=[(Refused(sid, "wrong", VOICE), 9)], now=old)
    signed = VOICE.replace("https", "http")
    refusals_store(
        counts=[
            (Refused(sid, "unsigned", path, call_id=str(call.pk)), 2),
            (Refused(sid, "other-url", VOICE, signed), 1),
            (Refused(factories.make_account().account_sid, "wrong", VOICE), 1),
        ]
    )
    found = {each.what: each for each in explain(call) if each.where == "a refused request"}
    assert set(found) == {f"{path} (2 times)", VOICE}
    assert signed in found[VOICE].cause
    assert "PUBLIC_BASE_URL" in found[VOICE].fix


def test_the_doctor_tells_the_last_day_s_refusals_by_account_and_cause() -> None:
    account = factories.make_account(name="Main line")
    sid = account.account_sid
    assert list(_refusals()) == []
    long_ago = timezone.now() - timedelta(days=2)
    refusals_store(counts=[(Refused(sid, "wrong", VOICE), 1)], now=long_ago)
    assert list(_refusals()) == []
    refusals_store(
        counts=[
            (Refused(sid, "wrong", VOICE), 2),
            (Refused(sid, "wrong", VOICE + "/x"), 3),
            (Refused(sid, "other-url", VOICE, "http://old.example/twilio/voice"), 1),
        ]
    )
    found = {result.state: result for result in _refusals()}
    assert set(found) == {"failed", "warning"}
    assert "Main line" in found["failed"].check
    assert "http://old.example/twilio/voice" in found["failed"].detail
    assert found["warning"].detail.startswith("5 in the last day")


def test_the_list_says_what_it_means_and_what_to_do(client: Client) -> None:
    account = factories.make_account()
    refusals_store(counts=[(Refused(account.account_sid, "unsigned", VOICE + "?<b>=…"), 1)])
    row = RefusedRequest.objects.get()
    staff = factories.make_staff(account.organisation, ["calls.view_refusedrequest"])
    client.force_login(staff)
    listed = client.get(reverse("admin:calls_refusedrequest_changelist")).content.decode()
    assert "&lt;b&gt;" in listed
    page = client.get(reverse("admin:calls_refusedrequest_change", args=[row.pk]))
    assert "a proxy removes the header X-Twilio-Signature" in page.content.decode()


def test_the_why_page_leads_there_only_who_may_see_it(client: Client) -> None:
    call = factories.make_call(status="ended", ended_reason="customer-ended-call")
    link = reverse("admin:calls_refusedrequest_changelist")
    why = reverse("admin:calls_call_why", args=[call.pk])
    for permissions, there in (
        (["calls.view_call"], False),
        (["calls.view_call", "calls.view_refusedrequest"], True),
    ):
        client.force_login(factories.make_staff(call.organisation, permissions))
        hint = client.get(why).content.decode().partition("vp-hint")[2]
        assert (link in hint) is there


@pytest.mark.django_db(transaction=True)
async def test_refused_webhooks_and_handshakes_are_found_with_the_address_twilio_signed(
    rig: Rig,
) -> None:
    stream = stream_path((await rig.voice()).body)
    call = await rig.only_call()
    refusals.forget()
    form = rig.form(CallSid=call.call_sid)
    after = f"/twilio/after-stream/{call.pk}"

    async def refused(path: str, signature: str, **sent: Any) -> None:
        answer = await rig.post(path, {**form, **sent}, signature=signature)
        assert answer.status == 403

    old = "https://old.example.net/twilio/voice"
    host = {"X-Forwarded-Host": "old.example.net"}
    answer = await rig.post("/twilio/voice", form, signature=sign(old, form, TOKEN), headers=host)
    assert answer.status == 403, "found is not accepted"
    await refused(after, "x")
    await refused(after, "y")
    await refused("/twilio/status", PROBE_SIGNATURE)
    await refused("/twilio/status", "x", AccountSid=factories.sid("AC"))
    with pytest.raises(Exception, match="403"):
        await rig.media(stream, signature="x")
    await refusals.store_now()
    path, _, token = stream.rpartition("/")
    assert sorted(await in_database(_rows)) == [
        ("other-url", VOICE, old, 1),
        ("unknown-account", f"{PUBLIC}/twilio/status", "", 1),
        ("wrong", f"{PUBLIC}{after}", "", 2),
        ("wrong", PUBLIC.replace("https", "wss") + f"{path}/…", "", 1),
    ]
    of_call = await in_database(lambda: RefusedRequest.objects.filter(call=call).count())
    assert of_call == 2
    kept = await in_database(lambda: str(list(RefusedRequest.objects.values())))
    for secret in (token, form["From"], call.call_sid):
        assert secret not in kept


async def test_a_database_that_fails_costs_the_counts_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def store(counts: list[tuple[Refused, int]]) -> None:
        raise DatabaseError("the row of +15550107777")

    told: list[dict[str, Any]] = []
    monkeypatch.setattr(module.log, "error", lambda event, **fields: told.append(fields))
    counting = Refusals(store)
    counting.count(
        module.Knock(account_sid="", url=VOICE, signature="", form={}, tokens=(), is_known=False)
    )
    await counting.store_now()
    assert told == [{"error": "DatabaseError"}]
    assert counting.writer is not None
    counting.writer.cancel()
