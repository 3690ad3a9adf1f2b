"""What a policy's form says and refuses of refusals and emergencies."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from calls.models import CallPolicy
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def _save(client: Client, policy: CallPolicy, **changes: Any) -> Any:
    client.force_login(factories.make_superuser())
    form = {
        "organisation": policy.organisation_id,
        "name": policy.name,
        "country": "US",
        "direction": "both",
        "effective_from": "2026-01-01",
        "recording_consent": "notice",
        "on_refusal": "unrecorded",
        "calling_hours": "{}",
        "wordings-TOTAL_FORMS": 0,
        "wordings-INITIAL_FORMS": 0,
        **changes,
    }
    url = reverse("admin:calls_callpolicy_change", args=[policy.pk])
    answer = client.post(url, form)
    policy.refresh_from_db()
    return answer


def test_words_and_effects_are_kept_and_the_mark_of_review_falls(client: Client) -> None:
    policy = factories.make_policy()
    answer = _save(
        client, policy, emergency="notice", emergency_words="code red, fire", refusal_key="9"
    )
    assert answer.status_code == 302
    assert (policy.emergency, policy.refusal_key) == ("notice", "9")
    assert policy.emergency_words == ["code red", "fire"]
    assert policy.reviewed_at is None


def test_nothing_chosen_is_the_default(client: Client) -> None:
    policy = factories.make_policy(emergency="notice")
    assert _save(client, policy).status_code == 302
    assert policy.emergency == "auto"


def test_a_person_is_not_promised_where_there_is_none(client: Client) -> None:
    policy = factories.make_policy()
    number = factories.make_number(policy=policy)
    page = _save(client, policy, on_refusal="human").content.decode()
    assert f"{number} uses this policy and has no operator destination" in page
    assert policy.on_refusal == "unrecorded"
    factories.make_desk(is_default=True)
    assert _save(client, policy, on_refusal="human").status_code == 302
    assert policy.on_refusal == "human"


def test_a_key_that_no_telephone_has_is_refused(client: Client) -> None:
    page = _save(client, factories.make_policy(), refusal_key="x").content.decode()
    assert "no key of a telephone" in page


def test_the_page_says_what_has_no_effect_on_incoming_calls(client: Client) -> None:
    client.force_login(factories.make_superuser())
    page = client.get(reverse("admin:calls_callpolicy_add")).content.decode()
    assert "They have no effect on incoming calls" in page
