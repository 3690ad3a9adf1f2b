"""Numbers that cannot be served here: an import keeps them blocked, an export brings them back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from assistants.import_services import ImportFile, ImportReport, import_files
from assistants.models import StoredResource
from calls.models import PhoneNumber
from calls.selectors.numbers import number_by_id, number_sources
from calls.services.number_documents import number_document, number_object
from calls.services.number_export import number_export
from tests import factories
from tests.vapi_account import assistant, object_id
from voiceplatform.base.models import AuditEntry, Organisation
from voiceplatform.base.redaction import redact

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

HUSH = "hush-hush"
SID = "AC" + "0" * 32
VAPI = {
    "id": object_id(5, 1),
    "provider": "vapi",
    "sipUri": "sip:desk@sip.vapi.ai",
    "name": "SIP desk",
    "authentication": {"username": "u", "password": HUSH},
}
VONAGE = {"id": object_id(5, 2), "provider": "vonage", "number": "+15550109002"}
TWILIO = {
    "id": object_id(5, 3),
    "provider": "twilio",
    "number": "+15550109003",
    "twilioAccountSid": SID,
    "twilioAuthToken": HUSH,
}
ALL = (VAPI, VONAGE, TWILIO)


def run(
    *values: dict[str, Any], organisation: Organisation | None = None, **options: Any
) -> ImportReport:
    return import_files(
        organisation=organisation or factories.default_organisation(),
        files=[ImportFile("all.json", json.dumps(values).encode())],
        actor=None,
        source="command",
        **options,
    )


def outcomes(report: ImportReport) -> list[str]:
    return [result.outcome for result in report.results]


def shown() -> list[dict[str, Any]]:
    organisation = factories.default_organisation()
    kept = number_sources(organisation)[1].order_by("pk")
    found = (number_by_id(organisation, each.pk) for each in kept)
    return [number_object(each) for each in found if each is not None]


def test_every_provider_is_kept_blocked_with_what_to_do_and_not_twice() -> None:
    dry = run(*ALL, dry_run=True)
    assert not StoredResource.objects.exists()
    report = run(*ALL)
    assert report.results == dry.results
    assert outcomes(report) == ["created"] * 3
    for result, fix in zip(report.results, ("port it", "port it", "add the account"), strict=True):
        (finding,) = [f for f in result.findings if f.path == "$"]
        assert finding.state == "unsupported" and fix in finding.message.partition("Fix: ")[2]
    assert [(each["id"], each["status"]) for each in shown()] == [
        (value["id"], "blocked") for value in ALL
    ]
    for each, value in zip(shown(), ALL, strict=True):
        assert redact(value).items() <= each.items()
    assert not PhoneNumber.objects.exists()
    assert AuditEntry.objects.filter(action="phonenumber.create").count() == 3
    again = run(*ALL)
    assert outcomes(again) == ["unchanged"] * 3
    assert [r.findings for r in again.results] == [r.findings for r in report.results]
    assert outcomes(run({**VONAGE, "name": "New"})) == ["updated"]
    assert not AuditEntry.objects.filter(action="phonenumber.update").count() > 1


def test_a_file_without_provider_or_id_gets_both() -> None:
    value = {"number": "+15550109003", "twilioAccountSid": SID, "assistantId": None}
    for outcome in ("created", "unchanged"):
        assert outcomes(run(value)) == [outcome]
    (each,) = shown()
    assert each["provider"] == "twilio"
    named = {**value, "id": object_id(5, 9)}  # the number, not the id, says that it is the same
    assert outcomes(run(named)) == ["unchanged"]
    assert len(shown()) == 1


def test_a_kept_number_is_served_once_its_account_is_known() -> None:
    run(TWILIO)
    factories.make_account(account_sid=SID)
    report = run(TWILIO)
    assert outcomes(report) == ["updated"]
    assert not [f for f in report.results[0].findings if f.path == "$"]
    row = PhoneNumber.objects.get()
    assert (str(row.pk), row.route) == (TWILIO["id"], "vapi")
    assert outcomes(run(TWILIO)) == ["unchanged"]


def test_a_number_that_is_served_here_is_not_blocked_by_a_file() -> None:
    number = factories.make_number()
    value = {"provider": "vonage", "number": number.number_e164, "id": object_id(5, 4)}
    report = run(value)
    assert outcomes(report) == ["refused"]
    assert "is served here" in report.results[0].reason
    taken = run({"provider": "vonage", "number": "+15550109009", "id": str(number.pk)})
    assert outcomes(taken) == ["refused"]
    assert not StoredResource.objects.exists()


def test_another_organisation_may_keep_the_number_but_not_the_id() -> None:
    run(VONAGE)
    other = factories.make_organisation("Other")
    assert outcomes(run(VONAGE, organisation=other)) == ["refused"]
    assert outcomes(run({**VONAGE, "id": object_id(5, 8)}, organisation=other)) == ["created"]


@pytest.mark.parametrize(
    "wrong",
    [{"provider": "nobody"}, {"provider": ["twilio"]}, {"provider": "twilio", "number": "015"}],
)
def test_wrong_fields_are_refused(wrong: dict[str, Any]) -> None:
    factories.make_account(account_sid=SID)
    assert outcomes(run({**TWILIO, **wrong})) == ["refused"]
    assert not StoredResource.objects.exists()


def test_kept_numbers_go_out_and_come_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], django_assert_max_num_queries: Any
) -> None:
    run(*ALL)
    organisation = factories.default_organisation()
    with django_assert_max_num_queries(3):
        before = {
            str(pk): document for pk, _, _, document in number_export(organisation=organisation)
        }
    assert set(before) == {value["id"] for value in ALL}
    call_command("export_assistants", str(tmp_path))
    files = {path.name: path.read_bytes() for path in tmp_path.glob("phone-numbers/*")}
    assert sorted(name[:-14] for name in files) == ["15550109002", "15550109003", "sip-desk"]
    assert HUSH.encode() not in b"".join(files.values())
    call_command("import_vapi", str(tmp_path))
    assert "3 unchanged" in capsys.readouterr().out
    StoredResource.objects.all().delete()
    example = (tmp_path / "secrets.env.example").read_text()
    lines = [f"{line}{HUSH}" if line.endswith("=") else line for line in example.splitlines()]
    (tmp_path / "secrets.env").write_text("\n".join(lines))
    call_command("import_vapi", str(tmp_path))
    after = {value["id"]: number_by_id(organisation, value["id"]) for value in ALL}
    assert {pk: number_document(each) for pk, each in after.items() if each} == before


def test_what_the_admin_gave_a_number_stays_when_it_is_imported_again() -> None:
    """An import put the old assistant back onto a number that was given another one here."""
    ours, theirs, third = (factories.make_assistant() for _ in range(3))
    factories.make_account(account_sid=SID)
    value = {**TWILIO, "name": "Main", "assistantId": str(theirs.pk)}
    run(value)
    PhoneNumber.objects.update(assistant=ours, name="Front")  # the admin changes columns only
    for _ in range(2):
        report = run({**value, "hooks": []})
    assert outcomes(report) == ["unchanged"]
    row = PhoneNumber.objects.get()
    assert (row.assistant, row.name) == (ours, "Front")

    news = {**value, "name": "Sales", "assistantId": str(third.pk)}
    report = run(news)
    row.refresh_from_db()
    assert (outcomes(report), row.assistant, row.name) == (["updated"], ours, "Front")
    (finding,) = [f for f in report.results[0].findings if f.path == "$"]
    assert "`assistantId`, `name`" in finding.message and "Fix: " in finding.message

    PhoneNumber.objects.update(assistant=third, name="Sales")
    assert outcomes(run(news)) == ["unchanged"]
    assert outcomes(run({**news, "name": "Shop"})) == ["updated"]
    row.refresh_from_db()
    assert (row.assistant, row.name) == (third, "Shop")


def test_a_number_gets_its_assistant_when_that_comes_later() -> None:
    factories.make_account(account_sid=SID)
    value = {**TWILIO, "assistantId": object_id(1, 1)}
    run(value)
    assert PhoneNumber.objects.get().assistant is None
    # The file names one, so Vapi asks nobody who answers.
    assert not PhoneNumber.objects.get().previous_asks
    run(value, assistant(1))
    assert str(PhoneNumber.objects.get().assistant_id) == object_id(1, 1)
