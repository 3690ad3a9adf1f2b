"""Organisations, people, keys and jobs for tests, and fresh numbers and ids."""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models import Q

from voiceplatform.base.models import (
    DEFAULT_ORGANISATION_ID,
    ApiKey,
    AuditEntry,
    Job,
    Membership,
    Organisation,
)

EVERY_PERMISSION = (
    "INSERT INTO auth_user_user_permissions (user_id, permission_id) "
    "SELECT %s, id FROM auth_permission"
)
_counter = itertools.count(1)
_START = uuid.uuid4().int  # so that processes that share a database seldom share numbers
_PLACES = 8_000_000
_STRIDE = 3_141_593  # no factor in common with the places: all are taken before one comes again


def next_number() -> int:
    """Return a number that no other row of this process has in its name."""
    return next(_counter)


def sid(prefix: str) -> str:
    """Return a fresh identifier of Twilio's form: two letters and 32 hex digits."""
    return prefix + uuid.uuid4().hex


def phone_e164() -> str:
    """Return a US number that this process has not had; none is below +15552000000."""
    # Copies of one process begin with the same start and count; their own id tells them apart.
    place = _START + os.getpid() * 1_234_567 + next_number() * _STRIDE
    return f"+1555{2_000_000 + place % _PLACES:07d}"


def default_organisation() -> Organisation:
    """Return the organisation every installation has (made again if a test flushed it)."""
    return Organisation.objects.get_or_create(
        id=DEFAULT_ORGANISATION_ID, defaults={"name": "Default"}
    )[0]


def make_organisation(name: str = "", **columns: Any) -> Organisation:
    """Make an organisation."""
    return Organisation.objects.create(name=name or f"Organisation {next_number()}", **columns)


def make_user(username: str = "", *, password: str = "pass-Word-1", **columns: Any) -> Any:
    """Make a user who may not open the admin."""
    return get_user_model().objects.create_user(
        username or f"user-{uuid.uuid4().hex[:10]}", password=password, **columns
    )


def make_superuser(username: str = "", *, password: str = "pass-Word-1") -> Any:
    """Make a user who may do everything in every organisation."""
    return make_user(username, password=password, is_staff=True, is_superuser=True)


def make_staff(
    organisation: Organisation | None = None,
    permissions: Iterable[str] | str = (),
    **columns: Any,
) -> Any:
    """Make a staff user who is a member of ``organisation``.

    ``permissions`` are names such as ``"calls.view_call"``, or ``"all"``.
    """
    user = make_user(is_staff=True, **columns)
    Membership.objects.create(user=user, organisation=organisation or default_organisation())
    if permissions == "all":
        with connection.cursor() as cursor:  # a row of the ORM for each would cost all tests a lot
            cursor.execute(EVERY_PERMISSION, [user.pk])
    else:
        for name in permissions:
            app_label, codename = name.split(".", 1)
            user.user_permissions.add(
                Permission.objects.get(Q(content_type__app_label=app_label) & Q(codename=codename))
            )
    return type(user).objects.get(pk=user.pk)  # without the permission cache


def make_api_key(
    organisation: Organisation | None = None,
    scopes: Sequence[str] = ("read", "write"),
    name: str = "test key",
) -> tuple[ApiKey, str]:
    """Make an API key; return the row and the clear key."""
    from voiceplatform.base import services  # late: rows must be importable before services are

    return services.api_key_create(
        organisation=organisation or default_organisation(), name=name, scopes=list(scopes)
    )


def make_job(organisation: Organisation | None = None, **columns: Any) -> Job:
    """Make a job."""
    defaults: dict[str, Any] = {"kind": "import", "total_count": 10, "done_count": 3}
    return Job.objects.create(
        organisation=organisation or default_organisation(), **{**defaults, **columns}
    )


def make_audit_entry(organisation: Organisation | None = None, **columns: Any) -> AuditEntry:
    """Make an audit entry."""
    defaults: dict[str, Any] = {"actor": "system", "action": "test", "target_label": "a thing"}
    return AuditEntry.objects.create(
        organisation=organisation or default_organisation(), **{**defaults, **columns}
    )
