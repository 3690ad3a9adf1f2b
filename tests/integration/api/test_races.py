"""Whoever writes to an object decides by what is there now, not by what was read a moment ago."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from assistants import resource_services, services, squad_services
from assistants.api.squads import SquadDetail
from assistants.exceptions import SquadInUse
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
from tests.integration.api.client import Rest
from tools import services as tools
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


def both(kind: str) -> tuple[Any, Callable[[], object], Callable[[], object]]:
    """Return an object as it was read, and what deletes and what patches it."""
    if kind == "squad":
        squad = factories.make_squad()
        delete = partial(squad_services.squad_delete, squad=squad, actor=None)
        return squad, delete, partial(squad_services.squad_patch, squad=squad, **LATE)
    if kind == "tool":
        tool = factories.make_tool()
        delete = partial(tools.tool_delete, tool=tool, actor=None)
        return tool, delete, partial(tools.tool_patch, tool=tool, patch={"async": True}, actor=None)
    if kind == "assistant":
        assistant = factories.make_assistant()
        delete = partial(services.assistant_delete, assistant=assistant, actor=None)
        return assistant, delete, partial(services.assistant_patch, assistant=assistant, **LATE)
    resource = factories.make_resource(kind=kind)
    delete = partial(resource_services.resource_delete, resource=resource, actor=None)
    return resource, delete, partial(resource_services.resource_patch, resource=resource, **LATE)


LATE: dict[str, Any] = {"patch": {"name": "Late"}, "actor": None}


@pytest.mark.parametrize("kind", ["assistant", "tool", "squad", "eval", "file"])
def test_what_was_deleted_meanwhile_is_neither_changed_nor_deleted_again(kind: str) -> None:
    row, delete, patch = both(kind)
    delete()
    audited = AuditEntry.objects.count()
    for late in (patch, delete):
        with pytest.raises(RowGone, match=f"{row.pk} was not found"):
            late()
    now = type(row)._default_manager.get(pk=row.pk)
    assert now.deleted_at is not None
    assert "Late" not in repr(now.name)
    assert AuditEntry.objects.count() == audited


def test_who_comes_too_late_is_answered_404(monkeypatch: pytest.MonkeyPatch) -> None:
    rest = Rest()
    squad = factories.make_squad(rest.organisation)
    found = Squad.objects.get(pk=squad.pk)
    squad_services.squad_delete(squad=squad, actor=None)
    monkeypatch.setattr(SquadDetail, "_squad", lambda *_: found)
    for method in ("PATCH", "DELETE"):
        answer = rest(method, f"/squad/{squad.pk}", {"name": "Late"})
        assert (answer.status_code, answer.json()["message"]) == (
            404,
            f"Squad {squad.pk} was not found.",
        )


@pytest.mark.django_db(transaction=True)
def test_a_number_and_the_deletion_of_its_squad_at_once_leave_one() -> None:
    squad = factories.make_squad()
    document = {"provider": "vonage", "number": "14155550102", "squadId": str(squad.pk)}

    def write(index: int) -> None:
        if index:
            number_create(organisation=squad.organisation, document=document, actor=None)
        else:
            squad_services.squad_delete(squad=squad, actor=None)

    (problem,) = at_once(write, 2)
    is_gone = Squad.objects.get(pk=squad.pk).deleted_at is not None
    assert isinstance(problem, NumberRefused if is_gone else SquadInUse)


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
