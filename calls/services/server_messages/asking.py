"""Asks a server about a call and waits for its answer: the requests of vapi.md 5.1 that have one.

Owns how such a request leaves: one POST within a limit of time, never in a database transaction.
What is asked, and what an answer means, is the caller's. A failure is an empty answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from calls.events.outbox import Destination
from calls.services.tool_servers import credential_of
from tools.dispatch import dispatch
from tools.servers import ToolServer
from tools.spec import ToolSpec
from tools.wire import vapi_server


@dataclass(frozen=True, slots=True)
class Question:
    """A request that is ready to leave."""

    server: ToolServer
    body: bytes
    kind: str
    call_id: str


def question_of(
    destination: Destination, *, organisation_id: Any, body: Mapping[str, Any], call_id: str
) -> Question:
    """Return a request to ``destination``, with the credential it names; reads the database."""
    credential, passage = credential_of(organisation_id, destination.credential_id)
    server = ToolServer(
        url=destination.url,
        headers=destination.headers,
        timeout_seconds=destination.timeout_seconds,
        credential=credential,
        passage=passage,
        owner=str(organisation_id),
    )
    return Question(server, vapi_server.encode(body), str(body["message"]["type"]), call_id)


async def ask(question: Question) -> str | None:
    """Return the text of a 2xx answer; None for any other, or none in time."""
    heard: list[tuple[int, str]] = []

    def read(status: int, text: str, ids: Sequence[str]) -> Mapping[str, vapi_server.ToolAnswer]:
        heard.append((status, text))
        return dict.fromkeys(ids, vapi_server.NOTHING)

    spec = ToolSpec(name=question.kind)
    await dispatch(
        {question.kind: spec}, question.server, question.body, call_id=question.call_id, read=read
    )
    if not heard or not 200 <= heard[0][0] < 300:
        return None
    return heard[0][1]
