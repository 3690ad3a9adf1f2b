"""Scenarios, runs that play them on both stacks, and what came of each call of a run.

State only. What a scenario means is ``calls.parity.scenario``'s, what the calls of a run say
together ``calls.parity.measures``'s; rows are written by ``calls.services.parity_scenarios`` and
``parity_runs``. Words and arguments of callers are sealed, and go with the call they came from.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from assistants.models import Assistant, AssistantRevision
from calls.models.numbers import PhoneNumber
from calls.models.records import Call
from voiceplatform.base.fields import EncryptedJSONField
from voiceplatform.base.models import Job, OrganisationOwned

OPEN_STATES = ("queued", "running")


class ParityScenario(OrganisationOwned):
    """What a caller does, and which tools are to be called then."""

    class Source(models.TextChoices):
        MADE = "made", "Written by a person"
        FILE = "file", "From a file"
        GENERATED = "generated", "Generated from the assistant's tools"
        EXTRACTED = "extracted", "Taken from a past call"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120, help_text="How reports name it; once per assistant")
    assistant = models.ForeignKey(
        Assistant, on_delete=models.CASCADE, related_name="parity_scenarios"
    )
    document = EncryptedJSONField(help_text="The scenario, as in a file of docs/scenarios.md")
    source = models.CharField(max_length=9, choices=Source, default=Source.MADE)
    source_call = models.ForeignKey(
        Call,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        help_text="The past call it was taken from; it is erased with that call",
    )
    is_used = models.BooleanField(
        "in use", default=True, help_text="New runs of the assistant play it"
    )
    version = models.PositiveIntegerField(
        default=1, help_text="One more with every change; who changes it names the one seen"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("name", "id")
        verbose_name = "scenario"
        constraints = (
            models.UniqueConstraint(fields=("assistant", "name"), name="parity_scenario_once"),
            models.CheckConstraint(
                condition=Q(source__in=("made", "file", "generated", "extracted")),
                name="parity_scenario_source",
            ),
        )
        indexes = (models.Index(fields=("organisation", "name"), name="parity_scenario_list"),)

    def __str__(self) -> str:
        return self.name


class CriticalMarks(OrganisationOwned):
    """What a person decided about the critical arguments of one tool, from a revision on."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    revision = models.ForeignKey(
        AssistantRevision,
        on_delete=models.CASCADE,
        related_name="critical_marks",
        help_text="It holds for this revision and later ones, until one of them has its own",
    )
    tool = models.CharField(max_length=200, help_text="The tool's name, or “structured data”")
    decisions = models.JSONField(
        default=dict,
        blank=True,
        help_text="Kind of a field by its path, empty: not critical. Others follow the rule",
    )
    changed_by = models.CharField(max_length=200, blank=True)
    changed_at = models.DateTimeField()

    class Meta:
        ordering = ("-changed_at",)
        verbose_name = "critical arguments"
        verbose_name_plural = "critical arguments"
        constraints = (
            models.UniqueConstraint(fields=("revision", "tool"), name="critical_marks_once"),
        )
        indexes = (
            models.Index(fields=("organisation", "-changed_at"), name="critical_marks_list"),
        )

    def __str__(self) -> str:
        return self.tool


class ParityRun(OrganisationOwned):
    """One comparison of both stacks: what is played, how far it is, and what it showed."""

    class Kind(models.TextChoices):
        """Issue 9, point 5."""

        REHEARSAL = "rehearsal", "Rehearsal on stand-ins"
        REPLAY = "replay", "Past calls as text"
        REHEAR = "rehear", "Past calls heard again"
        LIVE = "live", "Live calls with a scripted caller"
        SHADOW = "shadow", "Live calls heard along"

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        CANCELLED = "cancelled"
        DONE = "done"
        FAILED = "failed"

    # A number's gate asks for one of these: only they heard sound (issue 9, point 5).
    AUDIO_KINDS = ("rehear", "live", "shadow")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=9, choices=Kind)
    assistant = models.ForeignKey(Assistant, on_delete=models.CASCADE, related_name="parity_runs")
    revision = models.ForeignKey(
        AssistantRevision,
        on_delete=models.CASCADE,
        related_name="parity_runs",
        help_text="What answers on our stack; a newer revision needs a new run",
    )
    number = models.ForeignKey(
        PhoneNumber,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="parity_runs",
        help_text="Empty: of no number, as rehearsals are",
    )
    model = models.CharField(
        max_length=80, blank=True, help_text="Empty: the model that answers the revision's calls"
    )
    state = models.CharField(max_length=9, choices=State, default=State.QUEUED)
    seed = models.PositiveBigIntegerField(
        help_text="Decides the order; the same seed gives the same run"
    )
    wanted = models.PositiveIntegerField(help_text="Pairs of calls")
    done = models.PositiveIntegerField(default=0, help_text="Pairs of which both calls are over")
    parallel = models.PositiveSmallIntegerField(default=20, help_text="Calls at once; 1 to 50")
    stops_early = models.BooleanField(
        default=False, help_text="End as soon as every gate has its verdict"
    )
    cost_limit_usd = models.DecimalField(
        max_digits=8, decimal_places=2, default=5, help_text="No call begins beyond it"
    )
    cost_usd = models.DecimalField(max_digits=12, decimal_places=6, default=0)
    options = models.JSONField(
        default=dict, blank=True, help_text="What the kind of run needs besides, without secrets"
    )
    marks = models.JSONField(
        default=dict, blank=True, help_text="Critical arguments of each tool, by path"
    )
    measures = models.JSONField(
        null=True, blank=True, help_text="What the pairs say together; nobody's words are in it"
    )
    figures = models.JSONField(
        default=dict, blank=True, help_text="The gates in figures, for lists; nobody's words"
    )
    verdict = models.CharField(
        max_length=9, blank=True, help_text="pass, fail or undecided; empty: not measured yet"
    )
    problem = models.CharField(max_length=500, blank=True)
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    begun_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    job = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ("-created_at",)
        permissions = (("run_parity", "Can begin, cancel and resume parity runs"),)
        indexes = (
            models.Index(fields=("organisation", "-created_at"), name="parity_run_list"),
            models.Index(fields=("revision", "-finished_at"), name="parity_run_gate"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(kind__in=("rehearsal", "replay", "rehear", "live", "shadow")),
                name="parity_run_kind_known",
            ),
            models.CheckConstraint(
                condition=Q(state__in=("queued", "running", "cancelled", "done", "failed")),
                name="parity_run_state_known",
            ),
            models.CheckConstraint(
                condition=Q(verdict__in=("", "pass", "fail", "undecided")),
                name="parity_run_verdict_known",
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.created_at:%Y-%m-%d %H:%M}"

    @property
    def has_audio(self) -> bool:
        """Tell whether its calls were heard, not read."""
        return self.kind in self.AUDIO_KINDS


class ParityCall(OrganisationOwned):
    """One call of a run on one stack; the other one of its pair has the same scenario and index."""

    class Stack(models.TextChoices):
        VAPI = "vapi", "Old stack"
        DIRECT = "direct", "Our stack"
        AGAIN = "again", "Old stack once more"  # what it differs from itself

    class State(models.TextChoices):
        WAITING = "waiting"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    run = models.ForeignKey(ParityRun, on_delete=models.CASCADE, related_name="calls")
    position = models.PositiveIntegerField(help_text="In the order in which pairs are dealt")
    scenario = models.CharField(max_length=160, help_text="A scenario's name, or which past call")
    index = models.PositiveIntegerField(help_text="Which repetition of the scenario, from 0")
    stack = models.CharField(max_length=6, choices=Stack)
    document = EncryptedJSONField(
        null=True, blank=True, help_text="The scenario as it was when the run began"
    )
    source_call = models.ForeignKey(
        Call,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        help_text="The past call that is played, or that the scenario was taken from; this row is "
        "erased with it",
    )
    state = models.CharField(max_length=7, choices=State, default=State.WAITING)
    sequence = EncryptedJSONField(null=True, blank=True, help_text="Tool calls in their order")
    transcript = EncryptedJSONField(null=True, blank=True, help_text="What was said, in order")
    extras = EncryptedJSONField(
        null=True, blank=True, help_text="What this kind of run found besides"
    )
    audio_key = models.CharField(max_length=200, blank=True, help_text="Of a stored recording")
    audio_seconds = models.FloatField(default=0)
    latency = models.JSONField(
        default=dict, blank=True, help_text="first_word_ms and turns_ms, in milliseconds"
    )
    cost_usd = models.DecimalField(max_digits=10, decimal_places=6, default=0)
    is_cut = models.BooleanField(default=False, help_text="Compared only so far")
    problem = models.CharField(max_length=300, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_token = models.CharField(max_length=32, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    begun_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("run", "position", "stack")
        verbose_name = "call of a run"
        verbose_name_plural = "calls of runs"
        constraints = (
            models.UniqueConstraint(
                fields=("run", "scenario", "index", "stack"), name="parity_call_once"
            ),
            models.CheckConstraint(
                condition=Q(stack__in=("vapi", "direct", "again")), name="parity_call_stack_known"
            ),
            models.CheckConstraint(
                condition=Q(state__in=("waiting", "running", "done", "failed")),
                name="parity_call_state_known",
            ),
        )
        indexes = (models.Index(fields=("run", "state", "position"), name="parity_call_next"),)

    def __str__(self) -> str:
        return f"{self.scenario} {self.index} {self.stack}"
