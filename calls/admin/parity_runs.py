"""Admin of runs: beginning one, watching and cancelling it, its report, files of it, two compared.

Rows are written by ``calls.services.parity_runs``; what a report says is ``parity_reports``'. What
people said, and arguments, are shown to those who may read transcripts, and each look is audited.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import path, reverse

from calls.admin.heard_page import HeardPage
from calls.admin.parity_forms import RunForm
from calls.models import ParityCall, ParityRun
from calls.parity.comparison import SURE, fisher
from calls.services.live_checks import CALLER
from calls.services.live_tools import confirmation
from calls.services.parity_choices import past_calls, runs_to_compare
from calls.services.parity_exports import report_csv, report_dump
from calls.services.parity_marks import run_renames
from calls.services.parity_reports import MOST_SHOWN, Report, report_of
from calls.services.parity_runs import (
    RunRefused,
    run_begin,
    run_cancel,
    run_resume,
    scenarios_in_use,
)
from calls.services.shadow_runs import shadow_begin, waiting_for_logs
from voiceplatform.base.scoped_admin import (
    BesideForm,
    ReadOnlyAdmin,
    ScopedAdmin,
    ScopedForm,
    ScopedRelatedFilter,
    badge,
)

RUNS = "calls.run_parity"
READS = "calls.view_transcript"
VERDICT_COLOURS = {"pass": "success", "fail": "danger", "undecided": "warning"}
STATE_COLOURS = {
    "queued": "info",
    "running": "primary",
    "done": "success",
    "cancelled": "warning",
    "failed": "danger",
}
_STATE_WORDS = {"queued": "waits for a worker", "done": "finished"}
_PAIR_COLOURS = {
    "same": "success",
    "differs": "danger",
    "missing": "warning",
    "unplayed": "info",
}


@admin.register(ParityRun)
class ParityRunAdmin(HeardPage, BesideForm, ScopedAdmin):
    """Comparisons of both stacks."""

    form = RunForm
    change_form_template = "admin/calls/parity/run.html"
    list_display = (
        *("created_at", "kind_shown", "assistant", "revision_shown", "verdict_badge"),
        *("state_badge", "progress", "created_by"),
    )
    list_display_links = ("created_at",)
    list_filter = ("state", "verdict", "kind", ("assistant", ScopedRelatedFilter))
    list_select_related = ("assistant", "revision__assistant", "number")
    search_fields = ("assistant__name", "created_by", "number__number_e164")
    hidden_lookups = ("measures", "options", "figures")
    autocomplete_fields = ("assistant", "number")
    date_hierarchy = "created_at"
    actions: Any = None
    list_hint = (
        "A run plays the same calls on the old stack and on this platform and compares which tools "
        "were called, with what, and how the calls came out."
    )
    fields = (
        *("assistant", "number", "kind", "caller", "confirmed", "pairs", "seed", "parallel"),
        *("model", "cost_limit_usd", "stops_early", "again", "renames", "shown_tools"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave long columns in the database where lists are read."""
        rows: QuerySet[Any] = super().get_queryset(request).defer("revision__document")
        return rows

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Ask for the permission to run."""
        return bool(request.user.has_perm(RUNS))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Show runs only; what is done to them has buttons of its own."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Have none on the form of a new run: its organisation is the assistant's."""
        return []

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Have no field on the page of a run: its template shows it."""
        return self.fields if obj is None else ()

    def get_form(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """Take the usual form for a page without fields."""
        if obj is not None:
            kwargs |= {"form": ScopedForm, "fields": ()}
        else:
            kwargs["fields"] = ("assistant", "number", "model")
        return super().get_form(request, obj, **kwargs)

    @admin.display(description="Kind", ordering="kind")
    def kind_shown(self, obj: ParityRun) -> str:
        """Return the kind in words."""
        return str(obj.get_kind_display())

    @admin.display(description="Revision", ordering="revision__number")
    def revision_shown(self, obj: ParityRun) -> str:
        """Return the revision's number, and the model if it is another one."""
        return f"r{obj.revision.number}" + (f", {obj.model}" if obj.model else "")

    @badge(description="Verdict", ordering="verdict", label=VERDICT_COLOURS)
    def verdict_badge(self, obj: ParityRun) -> str:
        """Return the verdict of a run that has ended."""
        return obj.verdict if obj.finished_at else ""

    @badge(description="State", ordering="state", label=STATE_COLOURS)
    def state_badge(self, obj: ParityRun) -> str:
        """Return the state."""
        return obj.state

    @admin.display(description="Pairs")
    def progress(self, obj: ParityRun) -> str:
        """Return done of wanted."""
        return f"{obj.done} of {obj.wanted}"

    # ---- beginning ------------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Begin the run that the form describes."""
        given = form.cleaned_data
        assistant, number, kind = given["assistant"], given.get("number"), given["kind"]
        common = {"assistant": assistant, "number": number, "kind": kind}
        replays = kind in (ParityRun.Kind.REPLAY, ParityRun.Kind.REHEAR)
        if kind == ParityRun.Kind.SHADOW:
            row = shadow_begin(
                assistant=assistant,
                number=number,
                actor=request.user,
                pairs=given["pairs"],
                model=given.get("model") or "",
                cost_limit_usd=given["cost_limit_usd"],
                options={"renames": given["renames"]} if given["renames"] else {},
            )
            obj.__dict__.update(row.__dict__)
            return
        row = run_begin(
            **common,
            actor=request.user,
            scenarios=() if replays else scenarios_in_use(assistant),
            calls=past_calls(**common, most=given["pairs"]) if replays else (),
            pairs=given["pairs"],
            seed=given["seed"],
            parallel=given["parallel"],
            model=given.get("model") or "",
            stops_early=given["stops_early"],
            again=given["again"] and not replays,
            cost_limit_usd=given["cost_limit_usd"],
            options={
                **({"renames": given["renames"]} if given["renames"] else {}),
                **(_live_options(request, given) if kind == ParityRun.Kind.LIVE else {}),
            },
        )
        obj.__dict__.update(row.__dict__)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Say on the form why a run cannot begin."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except RunRefused as refused:
            self.message_user(request, _sentence(refused), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> Any:
        """Lead to the run's page, where it is watched."""
        return HttpResponseRedirect(_url("change", obj.pk))

    # ---- the page of a run ----------------------------------------------------------------------

    def beside_form(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        """Return the report, as far as it is."""
        may_read = bool(request.user.has_perm(READS))
        report = report_of(obj, with_words=may_read)
        if may_read:
            self.audit(request, "parity_run.view", obj)
        other = self._other(request, obj)
        lines = sorted(report.pairs, key=lambda line: (line.state == "same", line.position))
        return {
            "title": f"{obj.get_kind_display()}: {obj.assistant.name}",
            "run": obj,
            "report": report,
            "shown": [(line, _PAIR_COLOURS[line.state]) for line in lines[:MOST_SHOWN]],
            "not_shown": max(len(lines) - MOST_SHOWN, 0),
            "gates": [(gate, _colour(gate.state)) for gate in report.gates],
            "verdict_colour": VERDICT_COLOURS[report.verdict],
            "state": self._state(obj),
            "marked": sum(map(len, obj.marks.values())),
            "renames": sorted(run_renames(obj).items()),
            "may_read": may_read,
            "may_run": request.user.has_perm(RUNS),
            "may_resume": (
                obj.state in ("cancelled", "failed") or bool(report.missing or report.unplayed)
            ),
            "others": runs_to_compare(obj),
            "other": other,
            "compared": _compared(report, other) if other is not None else (),
        }

    def _other(self, request: HttpRequest, obj: ParityRun) -> Report | None:
        asked = request.GET.get("with", "")
        if not asked:
            return None
        row = self.get_object(request, asked)
        if row is None or row.assistant_id != obj.assistant_id:
            raise Http404("The run was not found.")
        return report_of(row, with_words=False)

    def _state(self, run: ParityRun) -> dict[str, Any]:
        is_stopping = run.job is not None and run.job.cancel_requested and not run.finished_at
        return {
            "state": run.state,
            "words": "stopping" if is_stopping else _STATE_WORDS.get(run.state, run.state),
            "colour": STATE_COLOURS[run.state],
            "done": run.done,
            "total": run.wanted,
            "message": run.problem or _message(run),
            "has_ended": run.finished_at is not None,
            "result_url": _url("change", run.pk),
        }

    def get_urls(self) -> list[Any]:
        """Add what the page polls, its buttons and its files."""
        wrap = self.admin_site.admin_view
        own = (
            ("progress/", "progress", self.progress_view),
            ("cancel/", "cancel", self.cancel_view),
            ("resume/", "resume", self.resume_view),
            ("report.json", "json", self.json_view),
            ("report.csv", "csv", self.csv_view),
        )
        return [
            *(
                path(f"<uuid:object_id>/{name}", wrap(view), name=f"calls_parityrun_{short}")
                for name, short, view in own
            ),
            *super().get_urls(),
        ]

    def progress_view(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Answer how far a run is, as JSON."""
        return JsonResponse(self._state(self._row(request, object_id)))

    def cancel_view(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Stop a run after the calls at hand; only by POST."""
        run = self._row(request, object_id)
        if request.method == "POST":
            self._check_may(request)
            if run_cancel(run=run, actor=request.user):
                self.message_user(request, "It stops after the calls at hand.", messages.SUCCESS)
            else:
                self.message_user(request, "It had ended already.", messages.WARNING)
        return HttpResponseRedirect(_url("change", run.pk))

    def resume_view(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Play what a run still lacks; only by POST."""
        run = self._row(request, object_id)
        if request.method == "POST":
            self._check_may(request)
            try:
                limit = _limit(request.POST.get("cost_limit_usd", ""))
                run_resume(run=run, actor=request.user, cost_limit_usd=limit)
            except RunRefused as refused:
                self.message_user(request, _sentence(refused), messages.ERROR)
        return HttpResponseRedirect(_url("change", run.pk))

    def json_view(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Download the report as JSON, with arguments for those who may read them."""
        run = self._row(request, object_id)
        text = report_dump(report_of(run, with_words=request.user.has_perm(READS)))
        return self._file(request, run, text, "application/json", "json")

    def csv_view(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Download one line a pair."""
        run = self._row(request, object_id)
        return self._file(
            request, run, report_csv(report_of(run, with_words=False)), "text/csv", "csv"
        )

    def _file(
        self, request: HttpRequest, run: ParityRun, text: str, kind: str, ending: str
    ) -> HttpResponse:
        self.audit(request, "parity_run.export", run, form=ending)
        answer = HttpResponse(text, content_type=f"{kind}; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="parity-{run.pk}.{ending}"'
        answer["Cache-Control"] = "no-store"
        return answer

    def _row(self, request: HttpRequest, object_id: Any) -> ParityRun:
        run: ParityRun | None = self.get_object(request, str(object_id))
        if run is None:
            raise Http404("The run was not found.")
        if not self.has_view_permission(request, run):
            raise PermissionDenied
        return run

    def _check_may(self, request: HttpRequest) -> None:
        if not request.user.has_perm(RUNS):
            raise PermissionDenied


@admin.register(ParityCall)
class ParityCallAdmin(ReadOnlyAdmin):
    """The calls of all runs; what was said in one is on its run's page."""

    list_display = ("scenario", "index", "stack", "state_badge", "run", "attempts", "problem")
    list_display_links = ("scenario",)
    list_filter = ("state", "stack")
    list_select_related = ("run",)
    search_fields = ("scenario", "problem", "run__id__iexact")
    hidden_lookups = ("document", "sequence", "transcript", "extras")
    fields = (
        *("run", "position", "scenario", "index", "stack", "state_badge", "attempts", "problem"),
        *("is_cut", "audio_seconds", "latency", "cost_usd", "begun_at", "finished_at"),
    )
    readonly_fields = ("state_badge",)
    list_hint = "Each call of each run, on one stack; its pair is on the run's page."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave what is sealed in the database."""
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.defer(*("document", "sequence", "transcript", "extras"))

    @badge(
        description="State",
        ordering="state",
        label={"waiting": "info", "running": "primary", "done": "success", "failed": "danger"},
    )
    def state_badge(self, obj: ParityCall) -> str:
        """Return the state."""
        return obj.state


def _live_options(request: HttpRequest, given: dict[str, Any]) -> dict[str, Any]:
    """Return what a live run keeps: from where it calls, and who answers for the tools."""
    revision = given["assistant"].current_revision
    by = request.user.get_username()
    return {CALLER: given["caller"], **confirmation(revision, given["number"], by)}


def _compared(report: Report, other: Report) -> list[dict[str, Any]]:
    """Return what two runs show beside each other, line by line."""
    lines: list[dict[str, Any]] = [
        {"name": "Verdict", "mine": report.verdict, "theirs": other.verdict},
        {"name": "Pairs", "mine": report.measures.pairs, "theirs": other.measures.pairs},
    ]
    for mine, theirs in zip(report.gates, other.gates, strict=True):
        words = [f"{g.k} of {g.n} ({g.lower:.1%} to {g.upper:.1%})" for g in (mine, theirs)]
        # Fields of one call are wrong together, so counts of fields are no independent draws.
        is_of_pairs = mine.name != "arguments"
        chance = _chance((mine.k, mine.n), (theirs.k, theirs.n)) if is_of_pairs else ""
        lines.append({"name": mine.title, "mine": words[0], "theirs": words[1], "chance": chance})
    ours, others = report.sides[1], other.sides[1]
    lines += [
        {
            "name": "First word, P95",
            "mine": _ms(ours.first_word_p95_ms),
            "theirs": _ms(others.first_word_p95_ms),
        },
        {"name": "Answers, P95", "mine": _ms(ours.turn_p95_ms), "theirs": _ms(others.turn_p95_ms)},
        {
            "name": "Cost of a call",
            "mine": f"{ours.cost_per_call_usd or 0} USD",
            "theirs": f"{others.cost_per_call_usd or 0} USD",
        },
    ]
    known = {line.name: line for line in other.measures.scenarios}
    for line in report.measures.scenarios:
        same = known.get(line.name)
        if same is not None and (line.drift.k or same.drift.k):
            drifts = [f"{drift.k} of {drift.n} drift" for drift in (line.drift, same.drift)]
            chance = _chance((line.drift.k, line.drift.n), (same.drift.k, same.drift.n))
            lines.append(
                {"name": line.name, "mine": drifts[0], "theirs": drifts[1], "chance": chance}
            )
    return lines


def _chance(mine: tuple[int, int], theirs: tuple[int, int]) -> str:
    """Return how often two runs of one and the same would be as far apart, '' where one is empty.

    Fisher's exact test takes the pairs for others than those of the other run. Where they are the
    same calls it finds a difference later than it might, never sooner.
    """
    if not mine[1] or not theirs[1]:
        return ""
    p_value = fisher(*mine, *theirs)
    told = "under 0.001" if p_value < 0.001 else f"{p_value:.3f}"
    return f"p = {told}" + (", cannot be told apart" if p_value >= SURE else "")


def _limit(text: str) -> Decimal | None:
    if not text.strip():
        return None
    try:
        limit = Decimal(text.strip())
    except InvalidOperation:
        limit = Decimal("NaN")
    if not limit.is_finite():
        raise RunRefused("the cost limit is no number. Fix: give an amount in USD, such as 20.")
    return limit


def _ms(value: int | None) -> str:
    return "–" if value is None else f"{value} ms"


def _colour(state: str) -> str:
    return VERDICT_COLOURS.get(state, "info")


def _sentence(error: Exception) -> str:
    words = str(error)
    return f"{words[:1].upper()}{words[1:]}"


def _message(run: ParityRun) -> str:
    """Return what goes on, in words."""
    if run.kind != ParityRun.Kind.SHADOW:
        return "pairs are played"
    waiting = waiting_for_logs(run)
    words = "pairs are heard; calls are taken as they come"
    return f"{words}. {waiting} wait for the old stack's log: import it" if waiting else words


def _url(page: str, pk: Any) -> str:
    return reverse(f"admin:calls_parityrun_{page}", args=[pk])
