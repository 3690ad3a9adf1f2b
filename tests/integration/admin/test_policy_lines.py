"""Lines of a policy: audio says what its text says, review covers what is played."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from calls.models import CallPolicy, PolicyWording
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


@pytest.fixture
def admin(client: Client) -> Client:
    """A client of somebody who may do everything."""
    client.force_login(factories.make_superuser())
    return client


def _line() -> PolicyWording:
    return factories.make_wording(text="The old line.", audio_mulaw=b"\xff" * 800)


def _policy_form(wording: PolicyWording, text: str) -> dict[str, Any]:
    policy = wording.policy
    return {
        "organisation": policy.organisation_id, "name": policy.name, "country": "US",
        "direction": "both", "effective_from": "2026-01-01", "recording_consent": "none",
        "on_refusal": "unrecorded", "calling_hours": "{}",
        "wordings-TOTAL_FORMS": 1, "wordings-INITIAL_FORMS": 1,
        "wordings-0-id": wording.pk, "wordings-0-policy": policy.pk,
        "wordings-0-language": "en", "wordings-0-version": 1, "wordings-0-text": text,
    }  # fmt: skip


def test_a_line_edited_on_its_policys_page_loses_its_audio_and_the_review(admin: Client) -> None:
    wording = _line()
    url = reverse("admin:calls_callpolicy_change", args=[wording.policy_id])
    assert admin.post(url, _policy_form(wording, "The new line.")).status_code == 302
    wording.refresh_from_db()
    assert (wording.text, wording.audio_mulaw, wording.rendered_at) == ("The new line.", None, None)
    assert CallPolicy.objects.get().reviewed_at is None


def test_a_new_version_takes_the_review_away(admin: Client) -> None:
    policy = _line().policy
    form = {"policy": policy.pk, "language": "en", "version": 2, "text": "A newer line."}
    assert admin.post(reverse("admin:calls_policywording_add"), form).status_code == 302
    policy.refresh_from_db()
    assert policy.reviewed_at is None


def test_a_deleted_line_takes_the_review_away(admin: Client) -> None:
    wording = _line()
    url = reverse("admin:calls_policywording_delete", args=[wording.pk])
    assert admin.post(url, {"post": "yes"}).status_code == 302
    assert CallPolicy.objects.get().reviewed_at is None


def test_a_line_that_callers_have_heard_is_not_rewritten(admin: Client) -> None:
    wording = _line()
    factories.make_call(policy_wording=wording)
    policy_page = reverse("admin:calls_callpolicy_change", args=[wording.policy_id])
    own_page = reverse("admin:calls_policywording_change", args=[wording.pk])
    own = {"policy": wording.policy_id, "language": "en", "version": 1, "text": "The new line."}
    for url, form in ((policy_page, _policy_form(wording, "The new line.")), (own_page, own)):
        answer = admin.post(url, form)
        assert answer.status_code == 200
        assert "kept as evidence" in answer.content.decode()
    wording.refresh_from_db()
    assert (wording.text, len(wording.audio_mulaw or b"")) == ("The old line.", 800)


def test_a_policy_without_a_line_cannot_be_marked_as_reviewed(admin: Client) -> None:
    empty = factories.make_policy(reviewed=False, name="Nothing to say")
    ready = factories.make_policy(reviewed=False, wordings={"en": "You speak with an assistant."})
    url = reverse("admin:calls_callpolicy_changelist")
    chosen = {"action": "mark_reviewed", "_selected_action": [empty.pk, ready.pk]}
    page = admin.post(url, chosen, follow=True).content.decode()
    assert "has no wording: callers would be told nothing." in page
    for policy in (empty, ready):
        policy.refresh_from_db()
    assert empty.reviewed_at is None
    assert ready.reviewed_at is not None


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"state": "pending"}, "No answer yet"),
        (
            {
                "state": "granted",
                "kind": "spoken",
                "answer": "yes",
                "question": "Do you mind?",
                "at": "2026-11-23T09:08:07+00",
            },
            "said yes, 2026-11-23 09:08:07 UTC",
        ),
        (
            {
                "state": "refused",
                "kind": "none",
                "question": "Do you mind?",
                "at": "2026-11-23T09:08:07+00",
            },
            "Did not agree; nothing that was said is kept",
        ),
    ],
)
def test_a_call_shows_what_its_caller_was_asked_and_answered(
    admin: Client, given: dict[str, str], shown: str
) -> None:
    wording = _line()
    call = factories.make_call(policy_wording=wording, consent=given)
    page = admin.get(reverse("admin:calls_call_change", args=[call.pk])).content.decode()
    assert given.get("question", "not answered yet") in page and shown in page


def test_a_question_that_was_asked_is_evidence_and_key_1_is_a_yes(admin: Client) -> None:
    wording = _line()
    factories.make_call(policy_wording=wording)
    url = reverse("admin:calls_callpolicy_change", args=[wording.policy_id])
    form = {**_policy_form(wording, wording.text), "wordings-0-question": "Another question?"}
    assert "kept as evidence" in admin.post(url, form).content.decode()
    form = {**_policy_form(wording, wording.text), "recording_consent": "ask", "refusal_key": "1"}
    assert "key 1 means yes" in admin.post(url, form).content.decode()
