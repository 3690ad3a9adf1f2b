"""A defect in hearing along costs the caller nothing."""

from __future__ import annotations

import uuid

import pytest

from calls.models import Call
from calls.previous.answers import Answer
from calls.telephony import shadow_fork

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("error", [AssertionError, KeyError, TypeError, ValueError, OSError])
async def test_the_old_stacks_answer_is_given_whatever_goes_wrong(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*args: object, **kwargs: object) -> Answer:
        raise error("a row that is not as it should be")

    monkeypatch.setattr(shadow_fork, "in_database", broken)
    answer = Answer("text/xml", b"<Response><Say>Hello</Say></Response>", 0)
    assert await shadow_fork.heard_along(Call(pk=uuid.uuid4()), answer) is answer
