"""Requests that nobody sends by accident: odd encodings, floods inside one body, borrowed ids."""

from __future__ import annotations

import json
import uuid
import zlib
from typing import Any

import pytest
from django.test import Client

from assistants.import_results import ImportFile
from assistants.import_services import import_files
from calls.models import PhoneNumber
from tests import factories
from tests.integration.api.client import Rest

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


@pytest.fixture
def rest() -> Rest:
    return Rest(scopes=("read", "write", "calls", "admin"))


def ask(rest: Rest, method: str, path: str, raw: bytes, content_type: str) -> Any:
    return Client(raise_request_exception=False).generic(
        method,
        path,
        raw,
        content_type=content_type,
        headers={"authorization": f"Bearer {rest.clear}"},
    )


@pytest.mark.parametrize("charset", ["rot13", "zlib", "hex", "undefined", "utf-16", "utf-8", "no"])
def test_json_is_utf8_whatever_the_content_type_says(rest: Rest, charset: str) -> None:
    """A codec named by a client could expand a small body without bound, or is none for text."""
    kind = f"application/json; charset={charset}"
    made = ask(rest, "POST", "/assistant", json.dumps({"name": "Grüße"}).encode(), kind)
    assert (made.status_code, made.json()["name"]) == (201, "Grüße")
    assert ask(rest, "GET", "/assistant?limit=1", b"", kind).status_code == 200
    bomb = zlib.compress(b" " * 1_000_000 + b"{}")
    assert ask(rest, "POST", "/assistant", bomb, kind).status_code == 400


@pytest.mark.parametrize("charset", ["rot13", "utf-8"])
def test_uploads_are_utf8_whatever_the_content_type_says(rest: Rest, charset: str) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
        b"Content-Type: text/pl\x00ain\r\n\r\nhello\r\n--b--"
    )
    made = ask(rest, "POST", "/file", body, f"multipart/form-data; boundary=b; charset={charset}")
    assert made.status_code in (201, 400), made.content
    assert b"u0000" not in made.content


@pytest.mark.parametrize("end", ["0001-01-03T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_sums_at_the_ends_of_time_are_answered(rest: Rest, end: str) -> None:
    query = {
        "table": "call",
        "name": "n",
        "operations": [{"operation": "count", "column": "id"}],
        "timeRange": {"end": end, "step": "day", "timezone": "Asia/Tokyo"},
    }
    assert rest("POST", "/analytics", {"queries": [query]}).status_code in (200, 400)
    query["timeRange"] = {"start": "0001-01-01", "end": end}
    assert rest("POST", "/analytics", {"queries": [query]}).status_code in (200, 400)


def test_a_query_asks_for_few_sums(rest: Rest) -> None:
    """Each is a column of one SELECT, of which databases take 1,600 to 2,000."""
    sums = [{"operation": "count", "column": "id", "alias": f"a{n}"} for n in range(3000)]
    query = {"table": "call", "name": "n", "operations": sums}
    answer = rest("POST", "/analytics", {"queries": [query]})
    assert answer.status_code == 400
    assert answer.json()["message"][0].startswith("queries.0.operations")
    query["operations"] = sums[:50]
    assert rest("POST", "/analytics", {"queries": [query]}).status_code == 200


def test_an_import_cannot_borrow_another_organisations_assistant(rest: Rest) -> None:
    """The file brings an assistant of that id too, which is refused; the number must not link."""
    theirs = factories.make_assistant(organisation=factories.make_organisation())
    account = factories.make_account(organisation=rest.organisation)
    number = {
        "id": str(uuid.uuid4()),
        "provider": "twilio",
        "number": "+15550104321",
        "twilioAccountSid": account.account_sid,
        "assistantId": str(theirs.pk),
    }
    assistant = {"id": str(theirs.pk), "name": "Copy", "model": {"provider": "openai"}}
    files = [
        ImportFile("assistants/a.json", json.dumps(assistant).encode()),
        ImportFile("phone-numbers/n.json", json.dumps(number).encode()),
    ]
    report = import_files(organisation=rest.organisation, files=files, actor=None, source="upload")
    assert report.counts()["refused"] >= 1
    rows = PhoneNumber.objects.filter(number_e164="+15550104321")
    assert [row.assistant_id for row in rows] in ([], [None])
