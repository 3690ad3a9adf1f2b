"""Whoever writes to an object decides by what is there now, not by what was read a moment ago."""

from __future__ import annotations

from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from assistants.models import Squad, StoredResource
from assistants.selectors import CALL_KIND
from calls.models import Call, PhoneNumber
from calls.selectors.numbers import number_by_id
from calls.services.call_records import call_erase, call_rename
from calls.services.number_documents import (
    NumberInUse,
    NumberRefused,
    number_create,
    number_delete,
    number_patch,
)
from tests import factories
from voiceplatform.base.models import AuditEntry
from voiceplatform.base.prepared import RowGone

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def kept_number() -> Any:
    document = {"provider": "vonage", "number": "14155550100", "name": "V"}
    return number_create(
        organisation=factories.default_organisation(), document=document, actor=None
    )


def test_a_number_that_answers_by_now_is_not_deleted() -> None:
    number = factories.make_number(route=PhoneNumber.Route.VAPI)
    stored = number_by_id(number.organisation, number.pk)
    assert stored is not None
    PhoneNumber.objects.filter(pk=number.pk).update(route=PhoneNumber.Route.DIRECT)
    with pytest.raises(NumberInUse, match="route direct"):
        number_delete(stored=stored, actor=None)
    assert PhoneNumber.objects.filter(pk=number.pk).exists()


def test_a_number_deleted_meanwhile_is_gone() -> None:
    kept = kept_number()
    number = factories.make_number(route=PhoneNumber.Route.VAPI)
    row = number_by_id(number.organisation, number.pk)
    for stored in (kept, row):
        assert stored is not None
        number_delete(stored=stored, actor=None)
        with pytest.raises(RowGone):
            number_delete(stored=stored, actor=None)
        with pytest.raises(RowGone):
            number_patch(stored=stored, patch={"name": "Again"}, actor=None)
    assert AuditEntry.objects.filter(action="phonenumber.delete").count() == 2
    assert not StoredResource.objects.filter(deleted_at=None).exists()


def test_a_number_is_given_nobody_that_was_deleted() -> None:
    squad = factories.make_squad()
    document = {"provider": "vonage", "number": "14155550101", "squadId": str(squad.pk)}
    Squad.objects.filter(pk=squad.pk).update(deleted_at=timezone.now())
    with pytest.raises(NumberRefused, match="squadId names no squad here"):
        number_create(organisation=factories.default_organisation(), document=document, actor=None)


def test_a_call_erased_meanwhile_gets_no_name() -> None:
    call = factories.make_call(status=Call.Status.ENDED)
    call_erase(call=Call.objects.get(pk=call.pk), actor=None)
    with pytest.raises(RowGone):
        call_rename(call=call, name="Late", actor=None)
    with pytest.raises(RowGone):
        call_erase(call=call, actor=None)
    assert not StoredResource.objects.filter(kind=CALL_KIND).exists()


def at_once(write: Callable[[int], object], count: int) -> list[BaseException]:
    """Run ``write`` in several threads at the same moment; return what they raised."""
    start, problems = Barrier(count), []

    def run(index: int) -> None:
        start.wait(timeout=10)
        try:
            while True:
                try:
                    write(index)
                    return
                except OperationalError as error:
                    # SQLite's shared in-memory database, which tests use, refuses to wait.
                    if "locked" not in str(error):
                        raise
        except BaseException as error:
            problems.append(error)
        finally:
            connection.close()

    threads = [Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return problems


@pytest.mark.django_db(transaction=True)
def test_two_first_names_of_a_call_are_both_taken() -> None:
    call = factories.make_call()
    names = [f"Name {index}" for index in range(3)]
    assert at_once(lambda i: call_rename(call=call, name=names[i], actor=None), 3) == []
    assert StoredResource.objects.get(pk=call.pk).name in names
    assert AuditEntry.objects.filter(action="call.rename").count() == 3
