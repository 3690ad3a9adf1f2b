"""Scenarios as rows and files: written, changed, generated, taken from past calls, read from YAML.

Owns the rows and the text of files. What a scenario is, is ``calls.parity.scenario``'s. A file is
YAML by the rules of version 1.2, so ``yes`` and ``on`` are words that a caller says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from django.db import IntegrityError, transaction

from assistants.models import Assistant, AssistantRevision
from assistants.yaml12 import KeyRepeated, parse_documents
from calls.models import Call, ParityScenario
from calls.parity.fields import marks_of
from calls.parity.making import Offered, extracted, generated
from calls.parity.played import Utterance
from calls.parity.scenario import Scenario, scenario_document
from calls.parity.scenario_reading import Problem, ScenarioWrong, scenario_read
from calls.services.call_plan import offered_tools
from calls.services.past_consent import has_refused
from calls.services.sequences import sequence_of
from tools.services import tool_document
from tools.wire.vapi_tool import read_tool
from voiceplatform.base.services import audit_write

LARGEST_FILE_BYTES: Final = 256 * 1024
MOST_FILES: Final = 500


class ScenarioRefused(ValueError):
    """A scenario cannot be stored; ``problems`` name field, cause and fix."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(" ".join(map(str, problems)))
        self.problems = problems


class ScenarioOvertaken(Exception):
    """Somebody changed the scenario since it was shown; open it again and repeat the change."""


def scenario_of_yaml(text: str, name: str = "") -> Scenario:
    """Return the scenario in a file's text; ``name`` is what it is called if it does not say.

    Raises:
        ScenarioRefused: it is no YAML, or no scenario.
    """
    try:
        documents = parse_documents(text, refuses_repeats=True)
    except KeyRepeated as error:
        fix = "begin each entry of a list with a dash of its own, or delete one of the two"
        raise ScenarioRefused([Problem("the text", str(error), fix)]) from error
    except (ValueError, RecursionError) as error:
        fix = "put texts with : or # into quotes, and indent with spaces"
        cause = f"it cannot be read: {error}".rstrip(".")[:200]
        raise ScenarioRefused([Problem("the text", cause, fix)]) from error
    if not documents:
        fix = "write name: and caller: with a list of what the caller says"
        raise ScenarioRefused([Problem("the text", "it is empty", fix)])
    if len(documents) > 1:
        fix = "one file each, without lines of three dashes"
        raise ScenarioRefused([Problem("the text", f"it holds {len(documents)} scenarios", fix)])
    try:
        return scenario_read(documents[0], name)
    except ScenarioWrong as wrong:
        raise ScenarioRefused(wrong.problems) from wrong


def yaml_of(document: Mapping[str, Any]) -> str:
    """Return a scenario's document as the text of a file."""
    return yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, width=98)


def scenarios_of_paths(paths: list[str]) -> dict[str, dict[str, Any]]:
    """Return the documents of files and of all ``.yaml`` files in folders, by name, in order.

    Raises:
        ScenarioRefused: one cannot be read or is no scenario; every problem of every file.
    """
    files: list[Path] = []
    problems: list[Problem] = []
    for given in map(Path, paths):
        if given.is_dir():
            inside = sorted([*given.rglob("*.yaml"), *given.rglob("*.yml")])
            if not inside:
                problems.append(Problem(str(given), "no scenario is in it", "add a .yaml file"))
            files += inside
        else:
            files.append(given)
    found: dict[str, dict[str, Any]] = {}
    if len(files) > MOST_FILES:
        words = f"{len(files)} files, and {MOST_FILES} can be played in one run"
        problems.append(Problem("the files", words, "name fewer folders, in several runs"))
    for path in files[:MOST_FILES]:
        try:
            scenario = scenario_of_yaml(_text_of(path), path.stem)
        except ScenarioRefused as refused:
            problems += [Problem(f"{path}: {p.field}", p.cause, p.fix) for p in refused.problems]
            continue
        except UnicodeDecodeError:
            problems.append(Problem(str(path), "it is not UTF-8", "save it as UTF-8 text"))
            continue
        except OSError as error:
            cause = f"it cannot be read ({error.strerror})"
            problems.append(Problem(str(path), cause, "name a file"))
            continue
        if scenario.name in found:
            fix = "give each scenario a name of its own"
            problems.append(Problem(f"{path}: name", f"{scenario.name!r} is there twice", fix))
        found[scenario.name] = scenario_document(scenario)
    if problems:
        raise ScenarioRefused(problems)
    return found


def _text_of(path: Path) -> str:
    with path.open("rb") as file:
        raw = file.read(LARGEST_FILE_BYTES + 1)
    if len(raw) > LARGEST_FILE_BYTES:
        cause = f"it is larger than {LARGEST_FILE_BYTES // 1024} KiB"
        raise ScenarioRefused([Problem("the file", cause, "name a file of one scenario")])
    return raw.decode("utf-8-sig")


def scenario_write(
    *,
    assistant: Assistant,
    scenario: Scenario,
    actor: Any,
    source: str = ParityScenario.Source.MADE,
    source_call: Call | None = None,
    is_used: bool = True,
) -> ParityScenario:
    """Store a new scenario.

    Raises:
        ScenarioRefused: the assistant has one of that name.
    """
    try:
        with transaction.atomic():
            row: ParityScenario = ParityScenario.objects.create(
                organisation=assistant.organisation,
                assistant=assistant,
                name=scenario.name,
                document=scenario_document(scenario),
                source=source,
                source_call=source_call,
                is_used=is_used,
            )
            audit_write(
                actor=actor,
                action="parity_scenario.create",
                organisation=assistant.organisation,
                target=row,
                details={"source": source},
            )
    except IntegrityError as error:
        fix = "choose another name"
        cause = f"the assistant has a scenario {scenario.name!r}"
        raise ScenarioRefused([Problem("name", cause, fix)]) from error
    return row


def scenario_change(
    *,
    row: ParityScenario,
    scenario: Scenario,
    is_used: bool,
    seen_version: int,
    actor: Any,
) -> None:
    """Store a change that was made to version ``seen_version``.

    Raises:
        ScenarioOvertaken: it has another version by now, or is gone.
        ScenarioRefused: the assistant has another one of that name.
    """
    columns = {
        "name": scenario.name,
        "document": scenario_document(scenario),
        "is_used": is_used,
        "version": seen_version + 1,
    }
    try:
        with transaction.atomic():
            changed = ParityScenario.objects.filter(pk=row.pk, version=seen_version).update(
                **columns
            )
            if not changed:
                raise ScenarioOvertaken("The scenario was changed since you opened it.")
            audit_write(
                actor=actor,
                action="parity_scenario.change",
                organisation=row.organisation,
                target=row,
            )
    except IntegrityError as error:
        cause = f"the assistant has a scenario {scenario.name!r}"
        raise ScenarioRefused([Problem("name", cause, "choose another name")]) from error


def offered_by(revision: AssistantRevision) -> list[Offered]:
    """Return the tools of a revision as scenarios are generated from."""
    found = []
    for tool in offered_tools(revision):
        parameters = read_tool(tool_document(tool)).parameters or tool.parameters
        found.append(
            Offered(tool.name, tool.type, tool.description, parameters, marks_of(parameters))
        )
    return found


def scenarios_generate(*, assistant: Assistant, actor: Any) -> list[ParityScenario]:
    """Store a scenario for each tool of the assistant's current revision, but for names it has."""
    revision = assistant.current_revision
    if revision is None:
        return []
    known = set(assistant.parity_scenarios.values_list("name", flat=True))
    return [
        scenario_write(
            assistant=assistant,
            scenario=scenario,
            actor=actor,
            source=ParityScenario.Source.GENERATED,
        )
        for scenario in generated(offered_by(revision))
        if scenario.name not in known
    ]


def scenario_extract(*, call: Call, assistant: Assistant, actor: Any) -> ParityScenario:
    """Store the scenario of a past call; it is erased with that call.

    Raises:
        ScenarioRefused: the caller said nothing, or the call was taken already.
    """
    if has_refused(call):
        fix = "take a call whose caller agreed"
        raise ScenarioRefused([Problem("the call", "its caller refused or has not agreed", fix)])
    said = [
        Utterance(turn.role, turn.text, turn.started_ms)
        for turn in call.turns.order_by("ordinal")
        if turn.role in ("user", "assistant")
    ]
    name = f"call of {call.created_at:%Y-%m-%d %H:%M:%S}"
    scenario = extracted(name, sequence_of(call), said)
    if not scenario.caller:
        fix = "take a call whose words were kept"
        raise ScenarioRefused([Problem("the call", "its caller said nothing", fix)])
    return scenario_write(
        assistant=assistant,
        scenario=scenario,
        actor=actor,
        source=ParityScenario.Source.EXTRACTED,
        source_call=call,
    )
