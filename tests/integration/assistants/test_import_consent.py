"""A Vapi assistant's consent plan becomes the call policy of a number that comes with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from assistants.import_services import ImportFile, import_files
from calls.models import CallPolicy, PhoneNumber
from tests import factories
from tests.vapi_account import assistant, object_id
from voiceplatform.base.models import AuditEntry

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def _bring(plan: dict[str, Any] | None, *numbers: str, dry_run: bool = False) -> None:
    """Import one assistant and its numbers in one file."""
    account = factories.make_account()
    owner = {**assistant(1), "compliancePlan": {"recordingConsentPlan": plan}}
    rows = [
        {
            "id": object_id(5, index),
            "provider": "twilio",
            "number": number,
            "twilioAccountSid": account.account_sid,
            "assistantId": owner["id"],
        }
        for index, number in enumerate(numbers, 1)
    ]
    report = import_files(
        organisation=factories.default_organisation(),
        files=[ImportFile("all.json", json.dumps([owner, *rows]).encode())],
        actor=None,
        source="command",
        dry_run=dry_run,
    )
    assert {result.outcome for result in report.results} == {"created"}


@pytest.mark.parametrize(
    ("plan", "consent", "on_refusal"),
    [
        ({"type": "stay-on-line"}, "notice", "end"),
        ({"type": "hang-up-to-decline"}, "notice", "end"),
        ({"type": "verbal"}, "ask", "end"),
        ({"type": "verbal", "declineTool": {"type": "transferCall"}}, "ask", "human"),
    ],
)
def test_the_plan_becomes_one_policy_for_its_numbers_that_nobody_has_reviewed(
    plan: dict[str, Any], consent: str, on_refusal: str
) -> None:
    said = "This call may be recorded."
    _bring({**plan, "message": said}, "+15550109011", "+15550109012")
    (policy,) = CallPolicy.objects.filter(name__startswith="Consent of")
    assert (policy.recording_consent, policy.on_refusal) == (consent, on_refusal)
    assert (policy.reviewed_at, policy.country) == (None, "US")
    assert [wording.text for wording in policy.wordings.all()] == [said]
    assert list(PhoneNumber.objects.values_list("policy", "route")) == [(policy.pk, "vapi")] * 2
    assert AuditEntry.objects.filter(action="callpolicy.create").count() == 1


def test_without_a_readable_plan_or_in_a_rehearsal_no_policy_is_made() -> None:
    before = CallPolicy.objects.count()
    _bring({"type": "verbal", "message": "May we?"}, "+15550109013", dry_run=True)
    _bring({"type": "verbal", "message": ""}, "+15550109014")
    assert CallPolicy.objects.count() == before
