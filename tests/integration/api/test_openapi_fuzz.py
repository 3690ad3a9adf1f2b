"""Schemathesis asks the whole surface what its own ``/schema`` allows, and what it does not.

Nothing may answer 5xx, a status, a content type or a header that the schema does not name, or a
body of another shape. The suite's share takes seconds; ``HYPOTHESIS_PROFILE=deep`` asks twenty
times as much.
"""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests import factories
from tests.integration.admin.rows import make_world
from tests.integration.tenancy.test_other_organisation import (
    REST_COMMANDS,
    REST_OBJECTS,
    REST_PARTS,
)
from voiceplatform import api_docs
from voiceplatform.base import services

pytestmark = [pytest.mark.integration, pytest.mark.django_db]

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

schema = schemathesis.openapi.from_dict(api_docs.schema_document())
schema.app = get_wsgi_application()


ANY = uuid.UUID(int=1)
LABELS = {
    reverse(name, kwargs={"object_id": ANY}).replace(str(ANY), "{object_id}"): label
    for name, label in {
        **REST_OBJECTS,
        **REST_PARTS,
        **{name: label for name, (label, _) in REST_COMMANDS.items()},
    }.items()
}


class World:
    """A key with every scope, and one object of every kind as soon as one is asked for."""

    def __init__(self, silent_twilio: Callable[[], None]) -> None:
        self._silent_twilio = silent_twilio
        self.organisation = factories.make_organisation()
        _, clear = factories.make_api_key(self.organisation, scopes=sorted(services.SCOPES))
        self.headers = {"Authorization": f"Bearer {clear}"}

    @functools.cached_property
    def rows(self) -> dict[str, Any]:
        rows = make_world(self.organisation)
        self._silent_twilio()
        return rows

    def id_for(self, path: str) -> str:
        """Return the id of an object that this path may name."""
        return str(self.rows[LABELS[path]].pk)


@pytest.fixture
def world(silent_twilio: Callable[[], None]) -> Iterator[World]:
    """A world, in the test's own transaction: requests must not close its connection."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield World(silent_twilio)
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


OPERATIONS = {found.ok().label: found.ok() for found in schema.get_all_operations()}


# Not ``schema.parametrize``: with this pytest all its cases have one name, of which xdist runs one.
@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_no_answer_is_a_server_error_or_undocumented(label: str, world: World) -> None:
    @settings(
        max_examples=100 if DEEP else 5,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=OPERATIONS[label].as_strategy())
    def ask(case: Any) -> None:
        given_id = (case.path_parameters or {}).get("object_id")
        # Most ids end in a digit: those name an object that exists, until one request deletes it.
        if given_id is not None and str(given_id)[-1:].isdecimal():
            case.path_parameters["object_id"] = world.id_for(case.operation.path)
        response = case.call(headers=world.headers)
        case.validate_response(response, checks=CHECKS)

    ask()
