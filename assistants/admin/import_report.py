"""What the pages of an import show: plain values for templates, and the report as JSON.

Owns filters, pages and colours; nothing here writes, and nothing a file says becomes markup.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from django.core.paginator import Page, Paginator
from django.db.models import Count
from django.http import Http404
from django.urls import NoReverseMatch, reverse

from assistants import import_services
from assistants.findings import KEPT, MAPPED
from assistants.findings import Finding as FindingValue
from assistants.import_documents import document_shown
from assistants.models import Assistant, Finding, ImportRun
from assistants.report_tree import WORST_FIRST, Section, tree, values_of
from assistants.voice_table import voices_heard
from voiceplatform.base.selectors import uuids_in

PER_PAGE: Final = 25
_OUTCOME_COLOURS: Final = {
    "created": "success",
    "updated": "info",
    "unchanged": "muted",
    "refused": "danger",
    "ignored": "muted",
}
STATE_COLOURS: Final = {
    "mapped": "success",
    "mapped-lossy": "info",
    "caller-audible": "warning",
    "kept": "muted",
    "unsupported": "warning",
    "secret-missing": "danger",
    "invalid": "danger",
}
_STATE_WORDS: Final = {value: str(label) for value, label in Finding.State.choices}
_OUTCOME_WORDS: Final = {
    "created": ("new", "created"),
    "updated": ("will change", "changed"),
    "unchanged": ("already the same", "unchanged"),
    "refused": ("cannot be imported", "refused"),
    "ignored": ("left out", "left out"),
}
_CHANGING: Final = ("created", "updated")
_PAGES: Final = {
    "assistant": "admin:assistants_assistant_change",
    "tool": "admin:tools_tool_change",
    "squad": "admin:assistants_squad_change",
}


def summary(run: ImportRun) -> str:
    """Return how many objects had which outcome, in words."""
    found = Counter(entry["outcome"] for entry in run.objects_json)
    return ", ".join(
        f"{found[outcome]} {_outcome_words(run, outcome)}"
        for outcome in import_services.OUTCOMES
        if found[outcome]
    )


def changes(run: ImportRun) -> int:
    """Return how many objects importing a preview would write."""
    return sum(entry["outcome"] in _CHANGING for entry in run.objects_json)


def _outcome_words(run: ImportRun, outcome: str) -> str:
    return _OUTCOME_WORDS[outcome][0 if run.state == ImportRun.State.PREVIEW else 1]


def run_page(run: ImportRun, query: Mapping[str, Any], *, can_confirm: bool) -> dict[str, Any]:
    """Return one page of a run's objects with their findings.

    Args:
        query: ``outcome``, ``state`` and ``page`` of the address bar; what is unknown is ignored.
    """
    outcome = _known(query.get("outcome"), import_services.OUTCOMES)
    state = _known(query.get("state"), _STATE_WORDS)
    entries = list(enumerate(run.objects_json))
    if outcome:
        entries = [each for each in entries if each[1]["outcome"] == outcome]
    if state:
        findings = run.findings.filter(state=state).order_by()
        numbers = set(findings.values_list("object_number", flat=True).distinct())
        entries = [each for each in entries if each[0] in numbers]
    page = Paginator(entries, PER_PAGE).get_page(query.get("page"))
    is_preview = run.state == ImportRun.State.PREVIEW
    writing = changes(run)
    return {
        "run": {
            "id": run.pk,
            "created_at": run.created_at,
            "organisation": run.organisation.name,
            "source": run.source,
        },
        "is_preview": is_preview,
        "can_confirm": is_preview and can_confirm and writing > 0,
        "changes": writing,
        "summary": summary(run),
        "objects": _objects(run, page, state),
        "total": len(run.objects_json),
        "outcomes": _outcome_filters(run, outcome, state),
        "states": _state_filters(run, outcome, state),
        "is_filtered": bool(outcome or state),
        "pages": _pages(page, outcome, state),
        "lacks_secrets": run.findings.filter(state=Finding.State.SECRET_MISSING).exists(),
    }


def _known(value: Any, known: Any) -> str:
    return value if isinstance(value, str) and value in known else ""


def _link(**query: Any) -> str:
    return "?" + urlencode({name: value for name, value in query.items() if value})


def _objects(
    run: ImportRun, page: Page[tuple[int, dict[str, Any]]], state: str
) -> list[dict[str, Any]]:
    numbers = [number for number, _ in page]
    by_object: dict[int, list[dict[str, Any]]] = {}
    decided = _decided_voices(run, [entry for _, entry in page])
    for finding in run.findings.filter(object_number__in=numbers).order_by("object_number", "id"):
        voice = decided.get(run.objects_json[finding.object_number]["id"], "")
        by_object.setdefault(finding.object_number, []).append(_shown(finding, voice))
    return [
        {
            **entry,
            "number": number,
            "words": _outcome_words(run, entry["outcome"]),
            "colour": _OUTCOME_COLOURS.get(entry["outcome"], "muted"),
            "has_fields": entry["kind"] not in ("unknown", "stays-behind"),
            **_by_loudness(by_object.get(number, []), state),
        }
        for number, entry in page
    ]


def _by_loudness(findings: Sequence[dict[str, Any]], state: str) -> dict[str, Any]:
    loud = [each for each in findings if each["state"] not in (MAPPED, KEPT)]
    loud.sort(key=lambda each: WORST_FIRST.index(each["state"]))
    quiet = [each for each in findings if each["state"] in (MAPPED, KEPT)]
    # Who asked for quiet ones wants to read them.
    return {"loud": loud, "quiet": quiet, "opens_quiet": state in (MAPPED, KEPT)}


def _decided_voices(run: ImportRun, entries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the voices that operators decided for the assistants of some entries, by their id."""
    ids = uuids_in(entry["id"] for entry in entries if entry["kind"] == "assistant")
    rows = Assistant.objects.filter(organisation=run.organisation_id, pk__in=ids)
    heard = voices_heard(rows.only("pk")) if ids else {}
    return {str(pk): each.voice for pk, each in heard.items() if each.decided}


def _shown(finding: Finding | FindingValue, voice: str = "") -> dict[str, Any]:
    """Return a finding for a template.

    Args:
        voice: what callers of the assistant hear today because an operator decided so; a finding
            says what held when it was made.
    """
    today = ""
    if finding.path == "$.voice" and voice and voice not in finding.message:
        today = f" Today its callers hear {voice}, as an operator decided since."
    return {
        "path": finding.path,
        "state": finding.state,
        "words": _STATE_WORDS.get(finding.state, finding.state),
        "colour": STATE_COLOURS.get(finding.state, "muted"),
        "message": f"{finding.message}{today}",
    }


def _outcome_filters(run: ImportRun, outcome: str, state: str) -> list[dict[str, Any]]:
    found = Counter(entry["outcome"] for entry in run.objects_json)
    return [
        {
            "words": _outcome_words(run, each),
            "count": found[each],
            "colour": _OUTCOME_COLOURS[each],
            "is_on": each == outcome,
            "link": _link(outcome="" if each == outcome else each, state=state),
        }
        for each in import_services.OUTCOMES
        if found[each]
    ]


def _state_filters(run: ImportRun, outcome: str, state: str) -> list[dict[str, Any]]:
    rows = run.findings.order_by().values("state").annotate(count=Count("id"))
    found = {row["state"]: row["count"] for row in rows}
    return [
        {
            "words": _STATE_WORDS[each],
            "count": found[each],
            "colour": STATE_COLOURS[each],
            "is_on": each == state,
            "link": _link(outcome=outcome, state="" if each == state else each),
        }
        for each in WORST_FIRST
        if each in found
    ]


def _pages(page: Page[Any], outcome: str, state: str) -> dict[str, Any]:
    def link(number: int) -> str:
        return _link(outcome=outcome, state=state, page=number)

    return {
        "number": page.number,
        "count": page.paginator.num_pages,
        "first": page.start_index(),
        "last": page.end_index(),
        "of": page.paginator.count,
        "previous": link(page.previous_page_number()) if page.has_previous() else "",
        "next": link(page.next_page_number()) if page.has_next() else "",
    }


def object_page(run: ImportRun, number_text: Any) -> dict[str, Any]:
    """Return every field of one object with its value, its state and its findings.

    Raises:
        Http404: the run has no such object.
    """
    number = _number(run, number_text)
    entry = run.objects_json[number]
    voice = _decided_voices(run, [entry]).get(entry["id"], "")
    findings = [
        FindingValue(each.path, each.state, _shown(each, voice)["message"])
        for each in run.findings.filter(object_number=number).order_by("id")
    ]
    leaves = import_services.run_leaves(run, number)
    shown = tree(leaves or (), values_of(document_shown(run, entry)), findings)
    counts = Counter(state for _, state in leaves or ())
    return {
        "run_id": run.pk,
        "object": {
            **entry,
            "words": _outcome_words(run, entry["outcome"]),
            "colour": _OUTCOME_COLOURS.get(entry["outcome"], "muted"),
        },
        "whole": [_shown(each) for each in shown.whole],
        "sections": [_section(each) for each in shown.sections],
        "left_out": shown.left_out,
        "has_leaves": leaves is not None,
        "counts": [
            {"words": _STATE_WORDS[each], "count": counts[each], "colour": STATE_COLOURS[each]}
            for each in WORST_FIRST
            if counts[each]
        ],
        "row_url": _row_url(run, entry),
        "back_url": reverse("admin:assistants_importrun_change", args=[run.pk]),
    }


def _number(run: ImportRun, text: Any) -> int:
    try:
        number = int(text)
    except (TypeError, ValueError):
        raise Http404("The object was not found.") from None
    if not 0 <= number < len(run.objects_json):
        raise Http404("The object was not found.")
    return number


def _section(section: Section) -> dict[str, Any]:
    return {
        "title": section.title,
        "words": _STATE_WORDS.get(section.state, section.state),
        "colour": STATE_COLOURS.get(section.state, "muted"),
        "is_open": section.needs_a_look,
        "finding_count": section.finding_count,
        "field_count": len(section.rows),
        "rows": [
            {
                "label": row.label,
                "path": row.path,
                "value": row.value,
                "words": _STATE_WORDS.get(row.state, row.state),
                "colour": STATE_COLOURS.get(row.state, "muted"),
                "findings": [_shown(each) for each in row.findings],
            }
            for row in section.rows
        ],
    }


def _row_url(run: ImportRun, entry: Mapping[str, Any]) -> str:
    """Return the page of the stored row, '' for a preview and for what has none."""
    name = _PAGES.get(entry["kind"])
    if run.state == ImportRun.State.PREVIEW or name is None or not entry["id"]:
        return ""
    if entry["outcome"] not in ("created", "updated", "unchanged"):
        return ""
    try:
        return reverse(name, args=[entry["id"]])
    except NoReverseMatch:
        return ""


def report_json(run: ImportRun) -> dict[str, Any]:
    """Return the whole report as the command's ``--json`` has it."""
    by_object: dict[int, list[dict[str, str]]] = {}
    rows = run.findings.order_by("object_number", "id")
    for number, path, state, message in rows.values_list(
        "object_number", "path", "state", "message"
    ):
        by_object.setdefault(number, []).append({"path": path, "state": state, "message": message})
    found = Counter(entry["outcome"] for entry in run.objects_json)
    return {
        "id": str(run.pk),
        "created_at": run.created_at.isoformat(),
        "source": run.source,
        "dry_run": run.state == ImportRun.State.PREVIEW,
        "counts": {outcome: found[outcome] for outcome in import_services.OUTCOMES},
        "objects": [
            {
                **{("path" if key == "where" else key): value for key, value in entry.items()},
                "findings": by_object.get(number, []),
                "leaves": [
                    {"path": path, "state": state}
                    for path, state in import_services.run_leaves(run, number) or ()
                ],
            }
            for number, entry in enumerate(run.objects_json)
        ],
    }
