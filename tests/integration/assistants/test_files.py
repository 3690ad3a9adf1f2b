"""Uploaded files: read in the background, found by what they say, gone when they are deleted."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from assistants import file_queue, file_work
from assistants.file_services import file_upload, tools_using
from assistants.knowledge import apart, index
from assistants.knowledge.index import search
from assistants.models import FilePassage, FileReading, StoredResource
from assistants.resource_services import resource_delete
from tests import factories
from tests.documents import pdf_bytes
from tests.integration.api.client import Rest
from tools.services import tool_store
from voiceplatform.base.models import Organisation

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

MENU = b"# Soups\n\nOur pumpkin soup costs five euro.\n\n# Hours\n\nOpen on Sundays from ten.\n"


def upload(
    content: bytes = MENU, name: str = "menu.md", owner: Organisation | None = None
) -> StoredResource:
    return file_upload(
        organisation=owner or factories.default_organisation(),
        name=name,
        mimetype="text/plain",
        content=content,
        actor=None,
    )


def found(file: StoredResource, question: str) -> list[str]:
    return [each.text for each in search(file.organisation, [file.pk], question, 5)]


def test_an_upload_is_read_in_the_background_and_found_then() -> None:
    rest = Rest()
    made = rest.upload("menu.md", MENU).json()
    assert made["status"] == "processing"
    file = StoredResource.objects.get(pk=made["id"])
    assert found(file, "soup") == []
    assert file_work.files_work() == 1
    shown = rest("GET", f"/file/{file.pk}").json()
    assert shown["status"] == "done" and "statusReason" not in shown
    (best,) = search(file.organisation, [file.pk], "What does the PUMPKIN soup cost?", 5)
    assert (best.file_name, best.heading, best.page) == ("menu.md", "Soups", 0)
    assert best.text == "Our pumpkin soup costs five euro."
    assert found(file, "sunday") == ["Open on Sundays from ten."]
    assert found(file, "hours") == ["Open on Sundays from ten."]  # its heading is searched too
    assert found(file, "lasagne") == []
    assert file_work.files_work() == 0
    FileReading.objects.update(state=FileReading.State.PROCESSING)  # not all of it is there yet
    assert found(file, "soup") == []


def test_a_pdf_is_opened_in_a_process_of_its_own_and_keeps_its_pages() -> None:
    file = upload(pdf_bytes(["Rooms", "The sauna opens at noon"]), "house.pdf")
    file_work.files_work()
    (best,) = search(file.organisation, [file.pk], "sauna", 5)
    assert (best.page, "opens at noon" in best.text) == (1, True)
    reading = FileReading.objects.get()
    assert (reading.state, reading.page_count, reading.passage_count) == ("done", 2, 1)


def test_a_file_that_takes_too_much_ends_its_process_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(apart, "_BEGIN", "import sys; sys.stdin.buffer.read(); raise MemoryError")
    upload(pdf_bytes(["x"]), "bomb.pdf")
    file_work.files_work()
    reading = FileReading.objects.get()
    assert reading.state == "failed" and "too much time or memory" in reading.problem


def test_what_cannot_be_read_says_why() -> None:
    rest = Rest()
    made = rest.upload("song.mp3", b"\x00\x01").json()
    file_work.files_work()
    shown = rest("GET", f"/file/{made['id']}").json()
    assert shown["status"] == "failed" and "no text" in shown["statusReason"]
    patched = rest("PATCH", f"/file/{made['id']}", {"name": "x", "statusReason": "none"}).json()
    assert "no text" in patched["statusReason"]


def test_rare_words_count_more_than_common_ones() -> None:
    common = [f"The shop sells tea and coffee, number {n}, every day." for n in range(30)]
    rare = "Refunds are paid by voucher."
    file = upload(
        "\n\n".join(f"# P{n}\n\n{each}" for n, each in enumerate([*common, rare])).encode()
    )
    file_work.files_work()
    assert found(file, "does the shop pay refunds for coffee")[0] == rare


def test_only_the_named_files_of_the_own_organisation_are_searched() -> None:
    other = factories.make_organisation()
    mine, theirs = upload(), upload(owner=other)
    second = upload(b"Pumpkin pie too.", "pie.txt")
    file_work.files_work()
    assert FileReading.objects.filter(state="done").count() == 3
    assert search(mine.organisation, [theirs.pk], "pumpkin", 5) == []
    assert search(other, [mine.pk, theirs.pk], "pumpkin", 5)[0].file_id == theirs.pk
    both = search(mine.organisation, [mine.pk, second.pk, theirs.pk], "pumpkin", 5)
    assert {each.file_id for each in both} == {mine.pk, second.pk}
    assert len(search(mine.organisation, [mine.pk, second.pk], "pumpkin", 1)) == 1


def test_a_deleted_file_is_found_no_longer_and_forgotten() -> None:
    file, kept = upload(), upload(b"Pumpkin pie.", "pie.txt")
    file_work.files_work()
    resource_delete(resource=file, actor=None)
    assert found(file, "pumpkin") == []
    file_work.files_work()
    assert set(FilePassage.objects.values_list("file", flat=True)) == {kept.pk}
    assert FileReading.objects.get().pk == kept.pk
    assert found(kept, "pumpkin") == ["Pumpkin pie."]


def test_the_same_text_twice_is_told_once() -> None:
    one, two = upload(), upload(name="again.md")
    file_work.files_work()
    assert len(search(one.organisation, [one.pk, two.pk], "pumpkin", 5)) == 1


@pytest.mark.parametrize(
    "question",
    [
        *(
            'pumpkin"',
            "pumpkin' OR 1=1 --",
            "pumpkin AND (",
            "NEAR(pumpkin, soup)",
            "words:pumpkin",
        ),
        *("pumpkin*:&|!<->", "pumpkin \x00\ud800", "file_id : pumpkin", "pumpkin " * 500),
    ],
)
def test_a_question_is_words_and_never_a_query(question: str) -> None:
    file = upload()
    file_work.files_work()
    assert found(file, question)[0].startswith("Our pumpkin soup")


def test_passages_go_in_and_out_in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "STEP", 2)
    file = upload("\n\n".join(f"# H{n}\n\nword{n}" for n in range(5)).encode())
    file_work.files_work()
    rows = FilePassage.objects.filter(file=file.pk)
    assert list(rows.values_list("ordinal", flat=True)) == [0, 1, 2, 3, 4]
    index.passages_drop(file.pk)
    assert not rows.exists()


def test_one_file_is_read_at_a_time_and_a_dead_workers_file_again() -> None:
    upload()
    second = upload(b"second", "b.txt")
    FilePassage.objects.create(file_id=second.pk, ordinal=0, text="half", words="half")
    first = file_queue.reading_claim()
    assert first is not None and file_queue.reading_claim() is None
    FileReading.objects.filter(pk=first.pk).update(lease_until=timezone.now() - dt.timedelta(1))
    again = file_queue.reading_claim()
    assert again is not None and (again.pk, again.attempts) == (first.pk, 2)
    file_queue.reading_fail(first, "late")  # whoever lost it writes nothing any more
    assert FileReading.objects.get(pk=first.pk).state == "processing"
    FileReading.objects.filter(pk=first.pk).update(lease_until=None, attempts=3)
    assert file_work.files_work() == 1
    states = dict(FileReading.objects.values_list("pk", "state"))
    assert states.pop(first.pk) == "failed" and set(states.values()) == {"done"}
    assert [each.text for each in FilePassage.objects.all()] == ["second"]  # nothing by halves


def test_an_upload_may_have_the_id_by_which_vapi_knew_it() -> None:
    rest, wanted = Rest(), str(uuid.uuid4())
    assert rest.upload("a.txt", b"one", id=wanted).json()["id"] == wanted
    assert rest.upload("a.txt", b"two", id=wanted).status_code == 400
    assert Rest().upload("a.txt", b"two", id=wanted).status_code == 400
    assert rest.upload("a.txt", b"two", id="7").json()["message"] == ["id must be a UUID"]
    other = factories.make_resource(rest.organisation, "eval")
    resource_delete(resource=other, actor=None)
    assert rest.upload("a.txt", b"two", id=str(other.pk)).status_code == 400
    rest("DELETE", f"/file/{wanted}")
    file_work.files_work()
    assert rest.upload("a.txt", b"two", id=wanted).status_code == 201
    file_work.files_work()
    assert found(StoredResource.objects.get(pk=wanted), "two one") == ["two"]


@pytest.fixture
def desk(client: Client) -> Client:
    client.force_login(factories.make_staff(permissions="all"))
    return client


def query_tool(file: StoredResource, **more: Any) -> Any:
    document = {
        "type": "query",
        "function": {"name": "look_up"},
        "knowledgeBases": [{"provider": "google", "name": "menu", "fileIds": [str(file.pk)]}],
        **more,
    }
    return tool_store(organisation=file.organisation, document=document, actor=None)


def test_a_person_uploads_a_file_and_tries_a_question(desk: Client) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    add = reverse("admin:assistants_filereading_add")
    organisation = factories.default_organisation().pk
    wanted = uuid.uuid4()
    for body, sentence in (
        ({"vapi_id": "x"}, "This is no id"),
        ({"upload": SimpleUploadedFile("a.md", b"x" * 11 * 2**20)}, "larger than 10 MiB"),
    ):
        page = desk.post(add, {"organisation": organisation, **body})
        assert sentence in page.content.decode()
    file = SimpleUploadedFile("menu.md", MENU, "text/markdown")
    body = {"organisation": organisation, "upload": file, "vapi_id": str(wanted)}
    assert desk.post(add, body).status_code == 302
    change = reverse("admin:assistants_filereading_change", args=[wanted])
    assert "cannot be searched" in desk.get(change).content.decode()
    file_work.files_work()
    text = desk.get(change, {"question": "what costs the soup <b>"}).content.decode()
    assert "Our pumpkin soup costs five euro." in text and "soup <b>" not in text
    nothing = desk.get(change, {"question": "lasagne"}).content.decode()
    assert "Nothing in it has a word" in nothing
    taken = desk.post(add, {**body, "upload": SimpleUploadedFile("b.md", b"b")})
    assert "This id is taken" in taken.content.decode()


def test_deleting_a_file_that_a_tool_uses_is_allowed_and_said(desk: Client) -> None:
    file = upload()
    tool = query_tool(file)
    assert tools_using(file) == ["look_up"]
    delete = reverse("admin:assistants_filereading_delete", args=[file.pk])
    assert "“look_up” looks things up" in desk.get(delete).content.decode()
    tool_page = reverse("admin:tools_tool_change", args=[tool.pk])
    assert "being read" in desk.get(tool_page).content.decode()
    page = desk.post(delete, {"post": "yes"}, follow=True).content.decode()
    assert "“look_up” answer without this file" in page
    assert StoredResource.objects.get(pk=file.pk).deleted_at is not None
    text = desk.get(tool_page).content.decode()
    assert "not here: the tool answers without it" in text and f"?vapi_id={file.pk}" in text
