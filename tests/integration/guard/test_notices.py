"""Notices reach mailboxes, servers and chat rooms through the outbox, once, without a number."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from django.core import mail
from django.db import transaction
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from calls.events.delivery import drain
from calls.models import DeliveryAttempt, Notice, NoticeReceiver, OutboxEvent
from calls.services.notices import (
    notice_enqueue,
    receiver_delete,
    receiver_earlier_secret_end,
    receiver_secret_renew,
    receiver_test,
)
from tests import factories
from tests.integration.events.receiver import Receiver

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]

WORDS = "5 of 8: calls ended by a fault; the number goes back"


def tell(key: str = "one", words: str = WORDS) -> int:
    with transaction.atomic():
        return notice_enqueue(
            organisation=factories.default_organisation(),
            key=key,
            subject="Incident: calls of a number have become bad",
            words=words,
            ids={"incident": "5f0c"},
        )


def test_each_receiver_is_told_once_in_its_own_form(receiver: Receiver, settings: Any) -> None:
    settings.EMAIL_HOST, settings.DEFAULT_FROM_EMAIL = "mail.test", "voice@example.com"
    hook = factories.make_notice_receiver(address=f"{receiver.url}/hook")
    factories.make_notice_receiver(kind="slack", address=f"{receiver.url}/slack")
    factories.make_notice_receiver(kind="email", address="desk@example.com")
    factories.make_notice_receiver(address=f"{receiver.url}/off", enabled=False)
    other = factories.make_organisation()
    factories.make_notice_receiver(other, address=f"{receiver.url}/other")

    assert (tell(), tell()) == (3, 0)
    assert asyncio.run(drain()) == 3
    assert set(OutboxEvent.objects.values_list("state", flat=True)) == {"delivered"}
    got = {each.path: each for each in receiver.got}
    assert set(got) == {"/hook", "/slack"}
    assert Webhook(hook.secret).verify(got["/hook"].body, got["/hook"].headers)
    body = got["/hook"].json
    assert (body["type"], body["words"], body["ids"]) == ("notice", WORDS, {"incident": "5f0c"})
    assert set(got["/slack"].json) == {"text"}
    assert WORDS in got["/slack"].json["text"]
    [sent] = mail.outbox
    assert (sent.to, sent.from_email) == (["desk@example.com"], "voice@example.com")
    assert WORDS in sent.body


def test_after_a_new_secret_both_sign_until_the_earlier_one_is_ended(receiver: Receiver) -> None:
    row = factories.make_notice_receiver(address=receiver.url)
    old = row.secret
    new = receiver_secret_renew(row=row, actor=None)
    assert receiver_test(row=row, actor=None) is not None
    for secret in (old, new):
        assert Webhook(secret).verify(receiver.got[-1].body, receiver.got[-1].headers)
    assert receiver_earlier_secret_end(row=row, actor=None)
    assert not receiver_earlier_secret_end(row=row, actor=None)
    receiver_test(row=row, actor=None)
    assert Webhook(new).verify(receiver.got[-1].body, receiver.got[-1].headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(receiver.got[-1].body, receiver.got[-1].headers)


def test_what_looks_like_a_number_leaves_in_no_form(receiver: Receiver, settings: Any) -> None:
    settings.EMAIL_HOST = "mail.test"
    factories.make_notice_receiver(address=f"{receiver.url}/hook")
    factories.make_notice_receiver(kind="slack", address=f"{receiver.url}/slack")
    factories.make_notice_receiver(kind="email")
    tell(words="Twilio says that +15551230001 is not yours")
    asyncio.run(drain())
    said = [each.body.decode() for each in receiver.got] + [mail.outbox[0].body]
    assert len(said) == 3
    assert not [each for each in said if "5551230001" in each]
    assert "5551230001" not in json.dumps(list(Notice.objects.values_list("words", flat=True)))


def test_a_notice_that_nobody_takes_waits_and_one_that_is_gone_is_switched_off(
    receiver: Receiver,
) -> None:
    row = factories.make_notice_receiver(address=receiver.url)
    receiver.status = 503
    tell("first")
    asyncio.run(drain())
    assert OutboxEvent.objects.get().state == "pending"
    receiver.status = 410
    tell("second")
    asyncio.run(drain())
    row.refresh_from_db()
    assert (row.enabled, row.switched_off_at is not None) == (False, True)
    # What waits for it is kept until somebody switches it on, and given up when it is removed.
    assert receiver_delete(row=row, actor=None) == 1
    assert set(OutboxEvent.objects.values_list("state", flat=True)) == {"dead"}


def test_mail_without_a_server_says_what_to_set() -> None:
    factories.make_notice_receiver(kind="email")
    tell()
    asyncio.run(drain())
    assert "SMTP_HOST" in DeliveryAttempt.objects.get().error
    assert not mail.outbox


def test_a_private_address_is_not_asked() -> None:
    factories.make_notice_receiver(address="http://169.254.169.254/latest")
    tell()
    asyncio.run(drain())
    assert "link-local" in DeliveryAttempt.objects.get().error


def test_a_test_is_sent_now_and_once(receiver: Receiver) -> None:
    row = factories.make_notice_receiver(address=receiver.url)
    receiver.status = 500
    attempt = receiver_test(row=row, actor=None)
    assert attempt is not None
    assert attempt.status_code == 500
    assert OutboxEvent.objects.get().state == "dead"
    assert "test" in receiver.got[0].json["words"]


def test_a_notice_outside_of_its_causes_transaction_is_refused() -> None:
    with pytest.raises(RuntimeError):
        notice_enqueue(
            organisation=factories.default_organisation(), key="k", subject="", words="", ids={}
        )
    assert not Notice.objects.exists()


def test_a_receiver_whose_key_is_lost_keeps_no_other_from_being_told(
    receiver: Receiver, settings: Any
) -> None:
    lost = factories.make_notice_receiver(name="lost")
    NoticeReceiver.objects.filter(pk=lost.pk).update(name="lost")
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("UPDATE calls_noticereceiver SET address = 'no token'")
    factories.make_notice_receiver(address=receiver.url)
    assert tell() == 2
    asyncio.run(drain())
    assert len(receiver.got) == 1
    assert sorted(OutboxEvent.objects.values_list("state", flat=True)) == ["delivered", "pending"]
