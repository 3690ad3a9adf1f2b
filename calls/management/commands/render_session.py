"""``render_session``: print what a call would send to the model first."""

from __future__ import annotations

import argparse
import json
import uuid
from pathlib import Path
from typing import Any, TypedDict, get_args

from django.core.management.base import CommandError

from assistants.findings import Finding
from assistants.selectors import assistant_list
from calls.services.session_preview import (
    PreviewProblem,
    SessionPreview,
    document_of_file,
    preview_file,
    preview_stored,
)
from calls.services.squad_preview import MemberPreview, preview_squad, preview_stored_squad
from calls.wire.realtime import Dialect
from voiceplatform.base.commands import (
    ExampleCommand,
    add_organisation_argument,
    organisation_named,
)
from voiceplatform.base.models import Organisation

EXAMPLES = """examples:
  manage.py render_session exports/desk.json
  manage.py render_session 6f1d8f0e-5a53-4c0e-9d0a-3a3f2f1f7c55 --dialect azure_ga
  manage.py render_session desk.json --variables '{"customer": {"number": "+15550100001"}}'

Prints one JSON object: session_update (the event that configures the session, as the bridge sends
it), conversation (items before the first word), greeting (the event that makes the assistant speak
first; null: it waits for the caller), greeting_audio (whether it is rendered before calls, or why
not), tools, findings. A squad gives members: each with its name,
whom it hands calls on to, and its session. With --json in one line, byte for byte as sent. Nothing
is sent and nothing is written. The default connection gives model and dialect.

exit codes: 0 done; 1 no such assistant, or the file holds none; 2 bad usage
"""


class Command(ExampleCommand):
    """Print the opening events of a call for an assistant."""

    help = "Print the session that an assistant becomes, with its variables filled in."
    examples = EXAMPLES

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "source", metavar="FILE-OR-ID", help="an export, or the id of an assistant or squad"
        )
        parser.add_argument("--dialect", choices=get_args(Dialect), help="as if connected so")
        parser.add_argument("--variables", default="{}", metavar="JSON", help="values by name")
        parser.add_argument("--json", action="store_true", help="one line, as it is sent")
        add_organisation_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the session.

        Raises:
            CommandError: nothing can be rendered (exit 1), or the arguments are wrong (exit 2).
        """
        organisation = organisation_named(options["organisation"])
        variables = _variables(options["variables"])
        source = options["source"]
        chosen: Chosen = {
            "organisation": organisation,
            "variables": variables,
            "dialect": options["dialect"],
        }
        try:
            shown = _of_file(source, chosen) if Path(source).exists() else _stored(source, chosen)
        except PreviewProblem as error:
            raise CommandError(str(error), returncode=1) from error
        if options["json"]:
            text = json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
        else:
            text = json.dumps(shown, ensure_ascii=False, indent=2)
        self.stdout.write(text)


class Chosen(TypedDict):
    """What the options say of every session."""

    organisation: Organisation
    variables: dict[str, Any]
    dialect: Dialect | None


def _of_file(path: str, chosen: Chosen) -> dict[str, Any]:
    kind, document = document_of_file(path)
    if kind == "squad":
        return _squad_as_json(preview_squad(document, **chosen))
    return _as_json(preview_file(path=path, **chosen))


def _stored(source: str, chosen: Chosen) -> dict[str, Any]:
    found_id = _id(source)
    if assistant_list(chosen["organisation"]).filter(pk=found_id).exists():
        return _as_json(preview_stored(assistant_id=found_id, **chosen))
    return _squad_as_json(preview_stored_squad(squad_id=found_id, **chosen))


def _squad_as_json(members: list[MemberPreview]) -> dict[str, Any]:
    return {
        "members": [
            {
                "name": each.member.name,
                "hands_on_to": [name for name, _ in each.member.hands_on],
                **(_as_json(each.preview) if each.preview else {}),
                **({"findings": [_finding(each.finding)]} if each.finding else {}),
            }
            for each in members
        ]
    }


def _finding(found: Finding) -> dict[str, str]:
    return {"path": found.path, "state": found.state, "message": found.message}


def _variables(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise CommandError(f"--variables is not JSON: {error}.", returncode=2) from error
    if not isinstance(found, dict):
        raise CommandError("--variables is not a JSON object of values by name.", returncode=2)
    return found


def _id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as error:
        words = f"{text} is neither a file nor the id of an assistant."
        raise CommandError(words, returncode=2) from error


def _as_json(preview: SessionPreview) -> dict[str, Any]:
    return {
        "session_update": preview.session_update,
        "conversation": preview.conversation,
        "greeting": preview.greeting,
        "greeting_audio": preview.greeting_audio,
        "tools": preview.tools,
        "findings": [_finding(found) for found in preview.findings],
    }
