"""Who is told of a call: the assistant's server, else its number's, else its organisation's.

Owns that order (vapi.md 2.5: exactly one target for each event) and what a message brings along to
prove who sends it: the server's own secret and headers, and a reference to its credential, which
is looked up when the message leaves. Reads rows, sends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from assistants.prompt import render
from assistants.resource_services import resource_document
from assistants.selectors import NUMBER_KIND, resource_list
from assistants.services import revision_document
from calls.bridge.effects import NewsKind
from calls.events.outbox import Destination
from calls.events.receivers import messages_wanted, receivers_of
from calls.models import Call, PhoneNumber
from calls.services.call_variables import variables_for
from calls.services.server_messages.selection import news_wanted, wanted_messages
from tools.defaults import has_template, render_values
from tools.models import DefaultServer
from tools.wire.vapi_tool import read_server


@dataclass(frozen=True, slots=True)
class Target:
    """Who is told of a call, and of what."""

    destination: Destination
    messages: frozenset[str]

    @property
    def news(self) -> tuple[NewsKind, ...]:
        """Return what the bridge has to tell for it."""
        return news_wanted(self.messages)


def news_of(call: Call, target: Target | None) -> tuple[NewsKind, ...]:
    """Return what the bridge has to tell for ``target`` and for a team's receivers of ``call``."""
    messages = frozenset(target.messages if target is not None else ())
    return news_wanted(messages.union(*map(messages_wanted, receivers_of(call))))


def target_of(call: Call) -> Target | None:
    """Return who is told of ``call``; None where nobody is, or nothing is wanted.

    What is wanted is said by the assistant, whoever's server it is. Calls that the previous stack
    answers are told by that one.
    """
    if call.stack == Call.Stack.VAPI:
        return None
    document = revision_document(call.revision) if call.revision is not None else {}
    messages = wanted_messages(document)
    if not messages:
        return None
    destination = (
        _of_assistant(call, document) or number_destination(call) or _of_organisation(call)
    )
    return None if destination is None else Target(destination, messages)


def _of_assistant(call: Call, document: Mapping[str, Any]) -> Destination | None:
    revision = call.revision
    if revision is None or not revision.server_url:
        return None
    return destination_of(call, document, url=revision.server_url, secret=revision.server_secret)


def number_destination(call: Call) -> Destination | None:
    """Return the server of the call's own number, None where it has none."""
    return destination_of(call, number_document(call.number)) if call.number is not None else None


def number_document(number: PhoneNumber) -> Mapping[str, Any]:
    """Return what Vapi's object of a number says beyond its row, with its secrets."""
    rows = resource_list(number.organisation, NUMBER_KIND)
    companion = rows.filter(pk=number.pk).first()
    return {} if companion is None else resource_document(companion)


def number_asks(number: PhoneNumber) -> bool:
    """Tell whether a number without an assistant leaves it to a server who answers (5.3)."""
    if number.assistant_id is not None or number.squad_id is not None:
        return False
    document = number_document(number)
    if document.get("squadId") or document.get("workflowId"):
        return False
    call = Call(organisation_id=number.organisation_id, number=number)
    return request_destination(call) is not None


def request_destination(call: Call) -> Destination | None:
    """Return who is asked for an assistant: the number's server, else the organisation's (5.3)."""
    return number_destination(call) or _of_organisation(call)


def _of_organisation(call: Call) -> Destination | None:
    assert call.organisation_id is not None, "every call has an organisation"
    rows = DefaultServer.objects.for_organisation(call.organisation_id)
    row: DefaultServer | None = rows.select_related("credential").first()
    if row is None or not row.url:
        return None
    return _with_headers(
        call,
        url=row.url,
        secret=row.secret,
        headers=row.headers or {},
        timeout_seconds=row.timeout_seconds,
        credential_id=str(row.credential.credential_id) if row.credential else "",
    )


def destination_of(
    call: Call, document: Mapping[str, Any], *, url: str = "", secret: str = ""
) -> Destination | None:
    """Read the ``server`` of an assistant or a number, or the old ``serverUrl`` of one."""
    reading = read_server(document.get("server"))
    old_url, old_secret = document.get("serverUrl"), document.get("serverUrlSecret")
    url = url or reading.url or (old_url if isinstance(old_url, str) else "")
    if not url:
        return None
    return _with_headers(
        call,
        url=url,
        secret=secret or reading.secret or (old_secret if isinstance(old_secret, str) else ""),
        headers=reading.headers or {},
        timeout_seconds=reading.timeout_seconds,
        credential_id=reading.credential_id,
    )


def _with_headers(
    call: Call,
    *,
    url: str,
    secret: str,
    headers: Mapping[str, str],
    timeout_seconds: float,
    credential_id: str,
) -> Destination:
    own = dict(headers)
    if has_template(own):
        # Header values are templates of the call (vapi.md 2.10).
        now = timezone.now()
        own = render_values(own, lambda text: render(text, variables_for(call, now), now))
    named = {name.lower() for name in own}
    if secret and "x-vapi-secret" not in named:  # an explicit header wins (vapi.md 4.2)
        own = {"X-Vapi-Secret": secret, **own}
    return Destination(
        url=url, headers=own, timeout_seconds=timeout_seconds, credential_id=credential_id
    )
