"""Which tools a live run really calls, on either stack, and who has confirmed exactly those.

Owns the two lists, ours from the revision that answers and the old stack's from what the last
import brought, each tool with its host. It refuses nothing: that is ``live_checks``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from assistants.models import Assistant, AssistantRevision, ImportedObject
from assistants.services import revision_document
from assistants.wire.vapi_config import read_assistant
from calls.models import PhoneNumber
from calls.services.call_plan import offered_tools
from calls.services.tool_servers import server_for
from tools.selectors import tools_by_id
from tools.services import tool_document, url_host
from tools.wire.vapi_tool import read_tool

CONFIRMED: Final = "tools_confirmed"
# Kinds that a server answers which may be named elsewhere: at the assistant, the number or higher.
_SERVED: Final = ("function",)
_SHOWN: Final = 10


def tools_called(revision: AssistantRevision, number: PhoneNumber | None) -> list[str]:
    """Return the tools that our stack calls for real, each with its host.

    Raises:
        DecryptionError: no key opens what one of them needs.
    """
    found = set()
    for tool in offered_tools(revision):
        host = tool.server_url_host
        if not host and tool.type in _SERVED:
            server = server_for(tool, revision, number=number)
            host = url_host(server.url) if server is not None else ""
        found.add(_named(tool.name, host))
    return sorted(found)


def old_tools_called(assistant: Assistant) -> list[str] | None:
    """Return the tools that the old stack calls, as the last import brought them, with hosts.

    Ours may have been renamed, moved to another server or left out since: the old stack has not.
    None where nothing was imported, so that nobody here knows.

    Raises:
        DecryptionError: no key opens the imported documents.
    """
    revision = assistant.imported_revision
    if revision is None:
        # Rows older than that column.
        revision = assistant.revisions.filter(source="import").order_by("-number").first()
    if revision is None:
        return None
    reading = read_assistant(revision_document(revision))
    documents: list[Any] = list(reading.inline_tools)
    brought = _brought(assistant, reading.tool_ids)
    documents += [brought[each] for each in reading.tool_ids if each in brought]
    found = {_old(document, reading.server_url) for document in documents}
    found |= {
        f"{each[:60]} (only its id is known)" for each in set(reading.tool_ids) - set(brought)
    }
    return sorted(found)


def _brought(assistant: Assistant, ids: tuple[str, ...]) -> dict[str, Any]:
    """Return saved tools as the last import brought them, as they are here where none did."""
    assert assistant.organisation is not None, "every assistant has an organisation"
    rows = tools_by_id(assistant.organisation, ids)
    imported = ImportedObject.objects.filter(
        organisation=assistant.organisation, kind="tool", object_id__in=list(rows)
    )
    found = {each: tool_document(tool) for each, tool in rows.items()}
    return found | {str(row.object_id): row.document for row in imported}


def _old(document: Any, assistants_server: str) -> str:
    tool = read_tool(document)
    url = tool.server_url or (assistants_server if tool.type in _SERVED else "")
    return _named(tool.name, url_host(url))


def _named(name: str, host: str) -> str:
    return f"{name} at {host}" if host else name


def tools_words(ours: list[str], old: list[str] | None, *, most: int | None = None) -> str:
    """Return both lists as a sentence, '' where neither stack has a tool.

    Args:
        most: so many of each are named, all of them where somebody is to confirm them.
    """
    if not ours and old == []:
        return ""
    theirs = (
        "what it has at Vapi, which was never imported here" if old is None else _listed(old, most)
    )
    return f"Ours: {_listed(ours, most)}. The old stack: {theirs}."


def _listed(names: list[str], most: int | None) -> str:
    shown = names[:most]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return ", ".join(shown) + more if names else "none"


def confirmation(
    revision: AssistantRevision, number: PhoneNumber | None, by: str
) -> dict[str, Any]:
    """Return the option that says who answers for the tools that are really called."""
    return {
        CONFIRMED: {
            "by": by,
            "tools": tools_called(revision, number),
            "old_tools": old_tools_called(revision.assistant),
        }
    }


def unconfirmed(
    revision: AssistantRevision, number: PhoneNumber, options: Mapping[str, Any]
) -> str:
    """Return in words which tools nobody has confirmed, '' if somebody has exactly these.

    Raises:
        DecryptionError: no key opens what says which they are.
    """
    ours, old = tools_called(revision, number), old_tools_called(revision.assistant)
    words = tools_words(ours, old, most=_SHOWN)
    confirmed = options.get(CONFIRMED)
    if not words:
        return ""
    if isinstance(confirmed, Mapping):
        # Void when either list has changed: with a tool less, or another host, it is another run.
        if confirmed.get("tools") == ours and confirmed.get("old_tools", 0) == old:
            return ""
        return f"the tools have changed since they were confirmed. {words}"
    return words
