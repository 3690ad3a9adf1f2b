"""An import straight from a Vapi account: every object it holds, and what of it stays behind.

Owns the order of the routes, what is fetched along with single objects, and the words about
resources that are not imported. Each object is stored as soon as it is read, so an import that is
interrupted has kept what it stored and a second one continues. It must not know how a request is
made (``vapi_api``) or how an object is stored (``import_store``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from assistants.findings import INVALID, MAPPED, UNSUPPORTED, Finding, pack_leaves
from assistants.import_results import IGNORED, ImportReport, ObjectResult
from assistants.import_runs import run_store
from assistants.import_services import Progress, context_for, drafts_resolved, store_drafts
from assistants.importing import Draft, drafts_of, ids_wanted
from assistants.kinds import Kind
from assistants.references import canonical_id, references
from assistants.selectors import circumstances_of
from assistants.vapi_api import VapiApi, VapiApiError, VapiCancelled
from assistants.wire.files import read_object
from voiceplatform.base.models import Organisation

MOST_OBJECTS: Final = 50_000
_BATCH: Final = 50  # objects read before they are stored; bounds memory, not correctness
# What is pointed at comes first; the names are Vapi's routes and our kinds.
ROUTES: Final[tuple[Kind, ...]] = (
    "tool",
    "structured-output",
    "eval",
    "eval/simulation/personality",
    "eval/simulation/scenario",
    "eval/simulation",
    "eval/simulation/suite",
    "assistant",
    "squad",
    "phone-number",
)
# Looked for in this order when only an id is given.
_BY_ID: Final[tuple[Kind, ...]] = ("assistant", "squad", "tool", "phone-number")
_STAYS: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "chat",
        "chats",
        "Nothing here holds text chats. Fix: keep them at Vapi, or ask the model "
        "directly from your own program",
    ),
    ("session", "sessions", "Conversations by text are not held here. Fix: keep them at Vapi"),
    (
        "campaign",
        "campaigns",
        "Outbound campaigns are not placed here. Fix: keep them at Vapi; "
        "the numbers they call from can stay there too",
    ),
    (
        "workflow",
        "workflows",
        "Workflows are not run here. Fix: write each as an assistant with tools, then import that",
    ),
    (
        "file",
        "files",
        "Uploaded files are not fetched, since their addresses are secret links. Fix: download "
        "those that your query tools name and upload them here under the same ids, in the admin "
        "under Files or with POST /file and the form field id",
    ),
    (
        "knowledge-base",
        "knowledge bases",
        "Nothing is searched here. Fix: offer the search as a function tool of your own server",
    ),
    (
        "v2/knowledge-base",
        "knowledge bases (v2)",
        "Nothing is searched here. Fix: offer the search as a function tool of your own server",
    ),
    (
        "credential",
        "credentials",
        "Credentials come as ids only, never with their values. Fix: "
        "enter each secret again; the missing ones are listed on one page of the admin",
    ),
    (
        "reporting/insight",
        "insights",
        "Reports are not taken over. Fix: ask POST /analytics, or read the calls from the database",
    ),
    (
        "observability/scorecard",
        "scorecards",
        "Calls are not scored here. Fix: keep judging them "
        "where you do, from the end-of-call report",
    ),
)
_CALLS_LOOKED_AT: Final = 10


def import_from_api(
    *,
    organisation: Organisation,
    client: VapiApi,
    actor: Any,
    source: str,
    dry_run: bool = False,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    ids: Sequence[str] = (),
) -> ImportReport:
    """Import every object of the account, or those with ``ids`` and what they point at.

    What goes wrong on the way ends the import and is the report's ``problem``; what was stored
    until then stays, and importing again costs nothing for it.

    Args:
        progress: told (done, known so far, label) after each object.
        cancelled: asked before each object and while a rate limit is waited out.
    """
    importing = _ApiImport(organisation, actor, dry_run, progress, cancelled or (lambda: False))
    client.cancelled = importing.cancelled
    problem, is_cancelled = "", False
    try:
        if ids:
            importing.store_some(client, ids)
        else:
            importing.store_all(client)
            importing.results += _what_stays(client)
    except VapiApiError as error:
        problem = str(error)
    except VapiCancelled:
        is_cancelled = True
    results = importing.finished(is_whole=not (problem or is_cancelled))
    run = None
    if not dry_run:
        run = run_store(organisation=organisation, results=results, actor=actor, source=source)
    return ImportReport(tuple(results), run, problem=problem, is_cancelled=is_cancelled)


class _ApiImport:
    """One import on its way: what it has stored, and which references wait for a later route."""

    def __init__(
        self,
        organisation: Organisation,
        actor: Any,
        dry_run: bool,
        progress: Progress | None,
        cancelled: Callable[[], bool],
    ) -> None:
        self.organisation = organisation
        self.around = circumstances_of(organisation)
        self.actor = actor
        self.dry_run = dry_run
        self.progress = progress
        self.cancelled = cancelled
        self.results: list[ObjectResult] = []
        self.read = 0
        self.seen: dict[str, set[str]] = {}
        self.awaited: list[tuple[int, str, str]] = []  # result, JSON path, id pointed at

    def store_all(self, client: VapiApi) -> None:
        """Read and store route by route."""
        for place, route in enumerate(ROUTES):
            for rows in _batches(client.objects(route)):
                self._store([(route, row) for row in rows], later=frozenset(ROUTES[place:]))

    def store_some(self, client: VapiApi, ids: Iterable[str]) -> None:
        """Fetch single objects and, again and again, what they point at; then store them."""
        found: dict[str, tuple[Kind, dict[str, Any]]] = {}
        absent: set[str] = set()
        wanted: list[tuple[str, str]] = [("", object_id) for object_id in dict.fromkeys(ids)]
        while wanted:
            if self.cancelled():
                raise VapiCancelled
            kind, object_id = wanted.pop()
            if object_id in found or object_id in absent:
                continue
            fetched = _fetched(client, kind, object_id)
            if fetched is None and not kind:
                raise VapiApiError(f"the account has no object {object_id}. Fix: correct --id")
            if fetched is None:
                absent.add(object_id)
                continue
            found[object_id] = fetched
            for each, more in ids_wanted(self._drafts([fetched])).items():
                wanted += [(each, one) for one in more]
            if len(found) > MOST_OBJECTS:
                raise VapiApiError(f"over {MOST_OBJECTS} objects. Fix: import them in parts")
        order = sorted(found.values(), key=lambda entry: ROUTES.index(entry[0]))
        self._store(order, later=frozenset())

    def _drafts(self, rows: Sequence[tuple[Kind, dict[str, Any]]]) -> tuple[Draft, ...]:
        readings = [read_object(f"{kind}/{row.get('id')}", kind, row) for kind, row in rows]
        return drafts_of(
            readings, organisation_id=self.organisation.pk, is_folder=False, around=self.around
        )

    def _store(self, rows: Sequence[tuple[Kind, dict[str, Any]]], *, later: frozenset[str]) -> None:
        self.read += len(rows)
        if self.read > MOST_OBJECTS:
            raise VapiApiError(f"over {MOST_OBJECTS} objects. Fix: import them in parts with --id")
        drafts = self._drafts(rows)
        here = {draft.object_id for draft in drafts}
        wanted = {k: ids - here for k, ids in ids_wanted(drafts).items() if k in later}
        coming = {
            kind: self.seen.get(kind, set()) | wanted.get(kind, set())
            for kind in self.seen.keys() | wanted.keys()
        }
        drafts = drafts_resolved(self.organisation, drafts, coming=coming)
        context = context_for(drafts, self.organisation, self.actor, dry_run=self.dry_run)
        context = replace(
            context,
            tool_ids=frozenset(context.tool_ids) | self.seen.get("tool", set()),
            arriving=context.arriving
            | self.seen.get("assistant", set())
            | self.seen.get("squad", set()),
        )
        for draft in drafts:
            if self.cancelled():
                raise VapiCancelled
            (result,), _ = store_drafts([draft], context)
            self._await(draft, wanted)
            self.results.append(result)
            if not draft.verdict:
                self.seen.setdefault(draft.kind, set()).add(draft.object_id)
            if self.progress is not None:
                self.progress(len(self.results), self.read, f"{draft.kind} {draft.name}".strip())

    def _await(self, draft: Draft, wanted: Mapping[str, set[str]]) -> None:
        for path, kind, value in references(draft.kind, draft.document):
            object_id = canonical_id(value)
            if object_id in wanted.get(kind, set()):
                self.awaited.append((len(self.results), path, object_id))

    def finished(self, *, is_whole: bool) -> list[ObjectResult]:
        """Return the results; a reference to what never came is said to be one."""
        seen = set().union(*self.seen.values())
        for index, path, object_id in self.awaited if is_whole else ():
            if object_id not in seen:
                self.results[index] = _unlinked(self.results[index], path)
        return self.results


def _fetched(client: VapiApi, kind: str, object_id: str) -> tuple[Kind, dict[str, Any]] | None:
    for route in ROUTES if kind else _BY_ID:
        if kind and route != kind:
            continue
        row = client.get(route, object_id)
        if row is not None:
            return route, row
    return None


def _unlinked(result: ObjectResult, path: str) -> ObjectResult:
    """Return ``result`` with the link at ``path`` told to lead nowhere."""
    finding = Finding(path, INVALID, "It points at something that the account does not have.")
    others = tuple(f for f in result.findings if f.path != path or f.state != MAPPED)
    leaves = [(leaf, INVALID if leaf == path else state) for leaf, state in result.leaves]
    return replace(result, findings=(*others, finding), packed_leaves=pack_leaves(leaves))


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _what_stays(client: VapiApi) -> list[ObjectResult]:
    """Return what the account uses of Vapi beyond what is imported, and what replaces it."""
    results = []
    for route, words, instead in _STAYS:
        try:
            is_used: bool | None = bool(client.newest(route, 1))
        except VapiApiError:
            is_used = None  # this route alone; the rest of the account was read
        results.append(_stays(route, words, instead, is_used=is_used))
    try:
        calls = client.newest("call", _CALLS_LOOKED_AT) or []
    except VapiApiError:
        calls = []
    is_web = any(call.get("type") == "webCall" for call in calls)
    instead = (
        "Browser calls by Vapi's web SDK do not reach this platform. Fix: keep them at Vapi, or "
        "embed a phone number"
    )
    results.append(_stays("call/web", "calls from the web SDK", instead, is_used=is_web))
    return results


def _stays(route: str, words: str, instead: str, *, is_used: bool | None) -> ObjectResult:
    use = {
        True: f"the account uses {words}, which stay at Vapi",
        False: f"the account uses no {words}",
        None: f"whether the account uses {words} could not be read",
    }[is_used]
    findings = {
        True: (Finding("$", UNSUPPORTED, f"{instead}."),),
        False: (Finding("$", MAPPED, f"The account uses no {words}; nothing is lost."),),
        None: (Finding("$", UNSUPPORTED, f"If it uses any: {instead}."),),
    }[is_used]
    return ObjectResult(
        kind="stays-behind",
        object_id="",
        name=words,
        file=f"/{route}",
        where="$",
        outcome=IGNORED,
        reason=f"not an assistant, tool, squad or number: {use}",
        findings=findings,
    )
