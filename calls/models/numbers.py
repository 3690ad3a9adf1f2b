"""Phone numbers with their route: who answers, under which policy and ceilings."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from assistants.models import Assistant, Squad
from calls.models.connections import ProviderConnection, TwilioAccount
from calls.models.operators import OperatorDesk
from calls.models.policy import CallPolicy
from voiceplatform.base.fields import EncryptedJSONField
from voiceplatform.base.models import OrganisationOwned


class PhoneNumber(OrganisationOwned):
    """One number; Vapi's id when it was imported from there."""

    class Route(models.TextChoices):
        """Route states (design.md 6)."""

        VAPI = "vapi"
        CANARY = "canary"
        DIRECT = "direct"
        PAUSED = "paused"

    class Sticky(models.TextChoices):
        """How long a caller of a canary stays on a stack (``calls.numbers.canary``)."""

        CALLER = "caller", "For good, by the caller's number"
        HOUR = "hour", "For an hour, by the caller's number"
        CALL = "call", "For one call"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    number_e164 = models.CharField(max_length=16, unique=True)
    name = models.CharField(max_length=100, blank=True)
    twilio_account = models.ForeignKey(
        TwilioAccount, on_delete=models.PROTECT, related_name="numbers"
    )
    twilio_sid = models.CharField(max_length=34, blank=True, help_text="PN…")
    route = models.CharField(max_length=8, choices=Route, default=Route.VAPI)
    canary_percent = models.PositiveSmallIntegerField(default=0)
    canary_sticky = models.CharField(
        max_length=6,
        choices=Sticky,
        default=Sticky.CALLER,
        help_text="How long a caller stays on the stack that the canary drew for them",
    )
    schedule = models.JSONField(
        null=True,
        blank=True,
        help_text="Windows of local time in which the route holds, and the route outside them. "
        "Empty: it always holds",
    )
    patience_ms = models.PositiveIntegerField(
        default=4_000,
        help_text="How long the old stack may take to answer a call that is handed over to it "
        "(milliseconds). 4000 is usual and the most: Twilio leaves a site that hangs within 6 s",
    )
    qualified_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Since when the assistant may answer in the old stack's place when that is down",
    )
    qualified_by = models.CharField(max_length=200, blank=True, help_text="Who said so")
    version = models.PositiveIntegerField(
        default=0, help_text="One more with every change of the route"
    )
    voice_region = models.CharField(
        max_length=20, blank=True, help_text="Twilio's region that handles its calls, e.g. us1"
    )
    previous_target = EncryptedJSONField(
        null=True,
        blank=True,
        opens_late=True,  # a call that needs it not is answered, whatever became of its key
        help_text="Where calls went before, as Twilio had it",
    )
    previous_asks = models.BooleanField(
        default=False,
        help_text="The number has no assistant at Vapi, which asks a server for each call: it is "
        "waited for 9 seconds at least",
    )
    previous_voice_url = models.URLField(
        blank=True, max_length=500, help_text="Where calls went before; the way back"
    )
    assistant = models.ForeignKey(
        Assistant, on_delete=models.PROTECT, null=True, blank=True, related_name="numbers"
    )
    squad = models.ForeignKey(
        Squad,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="numbers",
        help_text="Several assistants that hand a call on to each other: its first member answers. "
        "The assistant above answers when no member can",
    )
    connection = models.ForeignKey(
        ProviderConnection,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="numbers",
        help_text="Empty: the organisation's default connection",
    )
    policy = models.ForeignKey(
        CallPolicy, on_delete=models.PROTECT, null=True, blank=True, related_name="numbers"
    )
    operator_desk = models.ForeignKey(
        OperatorDesk,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="numbers",
        help_text="Who takes over from the assistant. Empty: the organisation's default",
    )
    health_data = models.BooleanField(
        default=False,
        help_text="Callers tell health data (PHI): only connections with a signed BAA and without "
        "retention are used",
    )
    eu_data = models.BooleanField(
        default=False,
        help_text="Callers' data stays in the EU: only connections of region eu with a signed DPA "
        "are used",
    )
    fallback_message = models.CharField(
        max_length=500,
        blank=True,
        help_text="Spoken when neither the assistant nor a person can be reached",
    )
    max_call_seconds = models.PositiveIntegerField(default=3600)
    max_tool_calls = models.PositiveIntegerField(default=50)
    max_spend_usd = models.DecimalField(max_digits=8, decimal_places=2, default=5)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("number_e164",)
        indexes = (models.Index(fields=("organisation", "route"), name="number_by_route"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(route__in=("vapi", "canary", "direct", "paused")),
                name="number_route_known",
            ),
            models.CheckConstraint(
                condition=Q(canary_percent__lte=100), name="number_canary_0_100"
            ),
            models.CheckConstraint(
                condition=Q(canary_sticky__in=("caller", "hour", "call")),
                name="number_sticky_known",
            ),
            models.CheckConstraint(
                # Without an assistant the number's server is asked for one, call by call.
                condition=Q(route__in=("vapi", "paused")) | Q(policy__isnull=False),
                name="number_direct_needs_policy",
            ),
            models.CheckConstraint(
                condition=Q(max_call_seconds__gte=10, max_call_seconds__lte=14_400)
                & Q(max_spend_usd__gt=0),
                name="number_has_ceilings",
            ),
        )

    def __str__(self) -> str:
        return self.number_e164
