"""The database the suite runs on is the one that was asked for, set up as in production."""

from __future__ import annotations

import pytest
from django.db import connection

from voiceplatform.base.models import DEFAULT_ORGANISATION_ID, Organisation

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


def test_the_asked_for_database_answers_and_holds_the_default_organisation(
    request: pytest.FixtureRequest,
) -> None:
    expected = {"postgres": "postgresql", "sqlite": "sqlite"}[
        request.config.getoption("--database")
    ]
    assert connection.vendor == expected
    assert Organisation.objects.filter(id=DEFAULT_ORGANISATION_ID).exists()


@pytest.mark.django_db(transaction=True)
def test_statements_are_bounded_or_the_lock_wait_is(request: pytest.FixtureRequest) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("show statement_timeout")
            assert cursor.fetchone() == ("5s",)
        else:
            cursor.execute("pragma busy_timeout")
            assert cursor.fetchone() == (20_000,)
