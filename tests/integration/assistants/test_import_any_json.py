"""Whatever JSON comes in, storing it never raises, and a second import finds nothing to change."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assistants.import_services import (
    CREATED,
    IGNORED,
    REFUSED,
    UNCHANGED,
    ImportFile,
    import_files,
)
from tests import factories
from tests.property.test_import_never_raises import OBJECTS

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

NAMES = st.sampled_from(
    [
        *("assistants/a.json", "tools/a.json", "phone-numbers/a.json", "squads/a.json"),
        *("structuredOutputs/a.json", "simulations/tests/a.json", "evals/a.json"),
    ]
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(NAMES, OBJECTS), min_size=1, max_size=3))
def test_arbitrary_objects_are_stored_once(contents: list[tuple[str, Any]]) -> None:
    organisation = factories.default_organisation()
    files = [
        ImportFile(f"{number}/{name}", json.dumps(value).encode("utf-8", "ignore"))
        for number, (name, value) in enumerate(contents)
    ]

    def outcomes() -> list[str]:
        report = import_files(organisation=organisation, files=files, actor=None, source="command")
        return [result.outcome for result in report.results]

    with transaction.atomic():
        first, second = outcomes(), outcomes()
        assert set(first) <= {CREATED, REFUSED, IGNORED, UNCHANGED}
        assert second == [UNCHANGED if each == CREATED else each for each in first]
        transaction.set_rollback(True)
