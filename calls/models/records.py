"""What is kept of a call: the call, its turns, its tool invocations and its recorded inputs."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from assistants.models import AssistantRevision
from calls.models.connections import ProviderConnection, TwilioAccount
from calls.models.numbers import PhoneNumber
from tools.models import Tool
from voiceplatform.base.fields import EncryptedBinaryField, EncryptedJSONField
from voiceplatform.base.models import Organisation, OrganisationOwned

STATUSES = ("queued", "ringing", "in-progress", "forwarding", "ended")


class Call(OrganisationOwned):
    """One phone call; ``id`` is our call_id, ``call_sid`` Twilio's."""

    class Stack(models.TextChoices):
        DIRECT = "direct"
        VAPI = "vapi"

    class Consent(models.TextChoices):
        """What became of the question of a policy that asks; empty: none was asked."""

        PENDING = "pending", "No answer yet"
        GRANTED = "granted", "Agreed"
        REFUSED = "refused", "Did not agree"

    class Status(models.TextChoices):
        """Vapi's words (design.md 6)."""

        QUEUED = "queued"
        RINGING = "ringing"
        IN_PROGRESS = "in-progress"
        FORWARDING = "forwarding"
        ENDED = "ended"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    call_sid = models.CharField(max_length=34, unique=True)
    twilio_account = models.ForeignKey(
        TwilioAccount,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        help_text="Through which it came; empty: it never came here, its log was imported",
    )
    number = models.ForeignKey(
        PhoneNumber, on_delete=models.PROTECT, null=True, blank=True, related_name="calls"
    )
    revision = models.ForeignKey(
        AssistantRevision, on_delete=models.PROTECT, null=True, blank=True, related_name="calls"
    )
    connection = models.ForeignKey(
        ProviderConnection, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    activation = models.ForeignKey(
        "calls.AssistantActivation",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="The assistant that has the call now; empty: it was never handed over",
    )
    direction = models.CharField(max_length=10, default="inbound")
    stack = models.CharField(max_length=6, choices=Stack, default=Stack.DIRECT)
    route_reason = models.CharField(max_length=200, blank=True)
    route_code = models.CharField(
        max_length=20, blank=True, help_text="The row of the route table that decided"
    )
    # Null rather than false: a column that may be null is added to a million calls in no time.
    is_test = models.BooleanField(
        "a test",
        null=True,
        help_text="Placed by this platform: the test call of a move, a rehearsal. It says nothing "
        "of how callers fare. Empty: a caller's",
    )
    caller = models.CharField(
        max_length=80, blank=True, help_text="From as Twilio gave it; not always a number"
    )
    callee = models.CharField(max_length=80, blank=True)
    status = models.CharField(max_length=12, choices=Status, default=Status.RINGING)
    ended_reason = models.CharField(max_length=120, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True, help_text="First stream")
    ended_at = models.DateTimeField(null=True, blank=True)

    media_token_expires_at = models.DateTimeField(null=True, blank=True)
    media_token_used_at = models.DateTimeField(null=True, blank=True)
    alive_at = models.DateTimeField(
        null=True, blank=True, help_text="When a media process, or Twilio, last said that it is on"
    )
    stream_sid = models.CharField(max_length=34, blank=True)
    stream_count = models.PositiveSmallIntegerField(default=0)
    next_step = models.JSONField(
        default=dict, blank=True, help_text='What <Connect action> answers, e.g. {"kind": "resume"}'
    )

    policy_wording = models.ForeignKey(
        "calls.PolicyWording", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    policy_played_at = models.DateTimeField(null=True, blank=True)
    policy_refused_at = models.DateTimeField(
        null=True, blank=True, help_text="The caller refused what the policy line says"
    )
    consent = models.JSONField(
        null=True,
        blank=True,
        help_text="Of a caller who was asked: state, when (at), by key or spoken (kind), and which "
        "key or known phrase (answer); never the caller's own words",
    )
    emergency_at = models.DateTimeField(
        null=True, blank=True, help_text="An emergency word was heard; acted on once"
    )

    duration_seconds = models.PositiveIntegerField(default=0)
    first_word_ms = models.PositiveIntegerField(
        null=True, blank=True, help_text="Stream start to first audio sent to the caller"
    )
    turn_latency_p50_ms = models.PositiveIntegerField(null=True, blank=True)
    turn_latency_p95_ms = models.PositiveIntegerField(null=True, blank=True)
    cost_usd = models.DecimalField(max_digits=10, decimal_places=6, default=0)
    metrics = models.JSONField(default=dict, blank=True)
    variable_values = EncryptedJSONField(
        null=True, blank=True, help_text="What tools' results have set during the call"
    )
    report_due_at = models.DateTimeField(
        null=True, blank=True, help_text="Send the report then, even without the last word"
    )
    analysis = models.JSONField(
        null=True, blank=True, help_text="What a model made of the call, as Vapi's analysis"
    )
    analysis_due_at = models.DateTimeField(
        null=True, blank=True, help_text="Since when a worker is wanted to analyse it"
    )
    twilio_sequence = models.IntegerField(default=-1, help_text="Newest status callback seen")
    imported_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="When its log was imported; empty: the call came here",
    )

    class Meta:
        ordering = ("-created_at",)
        permissions = (("view_transcript", "Can read what was said in calls"),)
        indexes = (
            models.Index(fields=("organisation", "-created_at"), name="call_list"),
            models.Index(fields=("-created_at",), name="call_list_all"),
            models.Index(fields=("organisation", "number", "-created_at"), name="call_by_number"),
            models.Index(fields=("organisation", "caller", "-created_at"), name="call_by_caller"),
            models.Index(
                fields=("organisation", "ended_reason", "-created_at"), name="call_by_reason"
            ),
            models.Index(
                fields=("report_due_at",),
                name="call_report_due",
                condition=Q(report_due_at__isnull=False),
            ),
            models.Index(
                fields=("analysis_due_at",),
                name="call_analysis_due",
                condition=Q(analysis_due_at__isnull=False),
            ),
            models.Index(fields=("created_at",), name="call_open", condition=~Q(status="ended")),
            # What a number's guard reads: whose calls ended lately, and the newest of each.
            models.Index(
                fields=("ended_at",), name="call_ended", condition=Q(ended_at__isnull=False)
            ),
            models.Index(
                fields=("number", "stack", "-ended_at"),
                name="call_by_end",
                condition=Q(ended_at__isnull=False),
            ),
        )
        constraints = (
            models.CheckConstraint(condition=Q(status__in=STATUSES), name="call_status_known"),
            models.CheckConstraint(
                condition=Q(stack__in=("direct", "vapi")), name="call_stack_known"
            ),
            models.CheckConstraint(
                condition=~Q(status="ended") | (Q(ended_at__isnull=False) & ~Q(ended_reason="")),
                name="call_end_is_explained",
            ),
            # What came by no account is a log of the past: over, and of no number.
            models.CheckConstraint(
                condition=Q(
                    imported_at__isnull=False,
                    status="ended",
                    twilio_account__isnull=True,
                    number__isnull=True,
                    revision__isnull=True,
                )
                | Q(imported_at__isnull=True, twilio_account__isnull=False),
                name="call_came_or_was_imported",
            ),
        )

    def __str__(self) -> str:
        return f"{self.callee} {self.created_at:%Y-%m-%d %H:%M:%S}"

    @property
    def account(self) -> TwilioAccount:
        """Return the account through which it came.

        Raises:
            ValueError: it never came here, its log was imported.
        """
        if self.twilio_account is None:
            raise ValueError(f"call {self.pk} was imported from a log and has no account")
        return self.twilio_account

    @property
    def consent_state(self) -> str:
        """Return what became of the question of consent; '' where none was asked."""
        return str(self.consent["state"]) if self.consent else ""


class Turn(models.Model):
    """One thing said. ``text`` is what was heard; the unheard rest is ``text_unheard``."""

    class Role(models.TextChoices):
        CALLER = "user"
        ASSISTANT = "assistant"
        SYSTEM = "system"

    call = models.ForeignKey(Call, on_delete=models.CASCADE, related_name="turns")
    ordinal = models.PositiveIntegerField(help_text="Order in which things were said, from 0")
    role = models.CharField(max_length=10, choices=Role)
    text = models.TextField(blank=True)
    text_unheard = models.TextField(blank=True)
    item_id = models.CharField(max_length=64, blank=True)
    started_ms = models.PositiveIntegerField(help_text="From the call's first stream start")
    ended_ms = models.PositiveIntegerField(null=True, blank=True)
    interrupted = models.BooleanField(default=False)
    latency_ms = models.PositiveIntegerField(
        null=True, blank=True, help_text="End of the caller's speech to our first audio"
    )

    class Meta:
        ordering = ("call", "ordinal")
        constraints = (
            models.UniqueConstraint(fields=("call", "ordinal"), name="turn_ordinal_once"),
            models.CheckConstraint(
                condition=Q(role__in=("user", "assistant", "system")), name="turn_role_known"
            ),
        )

    def __str__(self) -> str:
        return f"{self.role} {self.ordinal}"


class ToolInvocation(models.Model):
    """One function call of the model and what came back."""

    class State(models.TextChoices):
        RUNNING = "running"
        OK = "ok"
        ERROR = "error"
        TIMEOUT = "timeout"
        REFUSED = "refused"

    call = models.ForeignKey(Call, on_delete=models.CASCADE, related_name="tool_invocations")
    organisation = models.ForeignKey(
        Organisation,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        help_text="That of the call, so that lists need not look there",
    )
    tool_call_id = models.CharField(max_length=64)
    name = models.CharField(max_length=200)
    arguments_json = models.TextField(blank=True, help_text="As the model wrote them")
    state = models.CharField(max_length=8, choices=State, default=State.RUNNING)
    output = models.TextField(blank=True)
    started_ms = models.PositiveIntegerField()
    duration_ms = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True, null=True)
    tool = models.ForeignKey(
        Tool, on_delete=models.SET_NULL, null=True, blank=True, related_name="invocations"
    )
    exchange = models.ForeignKey(
        "calls.ToolExchange",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="invocations",
        help_text="The request that carried it; none where nothing was sent",
    )

    class Meta:
        ordering = ("call", "started_ms", "id")
        verbose_name = "tool call"
        indexes = (
            models.Index(fields=("organisation", "-id"), name="tool_call_by_owner"),
            models.Index(
                fields=("id",), name="tool_call_unowned", condition=Q(organisation__isnull=True)
            ),
            models.Index(fields=("tool", "-id"), name="tool_call_by_tool"),
            models.Index(fields=("state", "-id"), name="tool_call_by_state"),
            models.Index(fields=("name", "-id"), name="tool_call_by_name"),
            models.Index(fields=("-created_at",), name="tool_call_by_time"),
        )
        constraints = (
            models.UniqueConstraint(fields=("call", "tool_call_id"), name="tool_call_once"),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.state}"


class CallInputChunk(models.Model):
    """A piece of the recorded inputs of one stream of a call; ``replay_call`` runs them again."""

    call = models.ForeignKey(Call, on_delete=models.CASCADE, related_name="input_chunks")
    stream_number = models.PositiveSmallIntegerField(default=1)
    ordinal = models.PositiveIntegerField()
    data = EncryptedBinaryField(help_text="zlib-compressed records, see calls/media/recording.py")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("call", "stream_number", "ordinal")
        constraints = (
            models.UniqueConstraint(
                fields=("call", "stream_number", "ordinal"), name="input_chunk_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.call_id} {self.stream_number}/{self.ordinal}"
