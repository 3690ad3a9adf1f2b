"""Call policy of numbers (design.md 11): who is told what, before the model speaks.

The texts are examples to be reviewed by the operator's counsel; a policy counts only once
``reviewed_at`` is set.
"""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from voiceplatform.base.models import OrganisationOwned


class CallPolicy(OrganisationOwned):
    """One dated row of the policy table."""

    class Consent(models.TextChoices):
        NONE = "none", "No consent needed"
        NOTICE = "notice", "Notice, staying on the line is consent"
        ASK = "ask", "Ask, and obey the answer"

    class Refusal(models.TextChoices):
        UNRECORDED = "unrecorded", "Go on unrecorded"
        HUMAN = "human", "Hand over to a person"
        END = "end", "End the call"

    class Emergency(models.TextChoices):
        AUTO = "auto", "In the sector health: transfer, or the notice when nobody is there"
        TRANSFER = "transfer", "Transfer to a person, or the notice when nobody is there"
        NOTICE = "notice", "Say the notice and go on"
        NOTHING = "nothing", "Nothing"

    class Direction(models.TextChoices):
        INBOUND = "inbound"
        OUTBOUND = "outbound"
        BOTH = "both"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100)
    country = models.CharField(max_length=2, help_text="ISO 3166 of the callee's number")
    states = models.JSONField(
        default=list, blank=True, help_text="States it applies to; empty: the whole country"
    )
    direction = models.CharField(max_length=8, choices=Direction, default=Direction.BOTH)
    sector = models.CharField(max_length=40, blank=True, help_text="e.g. health, debt; empty: any")
    effective_from = models.DateField()
    recording_consent = models.CharField(max_length=6, choices=Consent, default=Consent.ASK)
    on_refusal = models.CharField(max_length=10, choices=Refusal, default=Refusal.UNRECORDED)
    refusal_key = models.CharField(
        max_length=1, blank=True, help_text="Pressed to refuse; the line must name it"
    )
    refusal_message = models.CharField(
        max_length=500, blank=True, help_text="Said before a call is ended for a refusal"
    )
    emergency = models.CharField(max_length=8, choices=Emergency, default=Emergency.AUTO)
    emergency_words = models.JSONField(default=list, blank=True)
    emergency_notice = models.CharField(max_length=500, blank=True)
    opt_out_words = models.JSONField(default=list, blank=True)
    calling_hours = models.JSONField(
        default=dict,
        blank=True,
        help_text='e.g. {"from": "08:00", "to": "21:00", "zone": "callee"}',
    )
    record_replay_audio = models.BooleanField(
        default=False,
        help_text="Keep callers' audio in the replay record (needs consent none or notice)",
    )
    second_processor = models.CharField(
        max_length=200,
        blank=True,
        help_text="Another company that hears calls along while the old stack answers, as callers "
        "are told of it, e.g. OpenAI. Empty: no call is heard along",
    )
    is_default = models.BooleanField(default=False)
    source = models.CharField(max_length=300, blank=True, help_text="Statute or counsel's memo")
    reviewed_at = models.DateTimeField(null=True, blank=True)
    reviewed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("name", "-effective_from")
        verbose_name_plural = "call policies"
        constraints = (
            models.UniqueConstraint(
                fields=("organisation",), name="policy_one_default", condition=Q(is_default=True)
            ),
            models.CheckConstraint(
                condition=~Q(recording_consent="ask", record_replay_audio=True),
                name="policy_ask_keeps_no_audio",
            ),
            models.CheckConstraint(
                condition=Q(emergency__in=("auto", "transfer", "notice", "nothing")),
                name="policy_emergency_known",
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} from {self.effective_from}"


class PolicyWording(models.Model):
    """The line that is played, per language and version; rendered once to mu-law."""

    policy = models.ForeignKey(CallPolicy, on_delete=models.CASCADE, related_name="wordings")
    language = models.CharField(max_length=10, default="en")
    version = models.PositiveIntegerField(default=1)
    text = models.TextField(help_text="AI disclosure and recording notice, as it is to be spoken")
    question = models.CharField(
        max_length=500,
        blank=True,
        help_text="Asked after the line where the policy asks for consent; it must name the keys "
        "1 for yes and 2 for no. Empty: the question that comes with this version, put in here "
        "when the policy is marked as reviewed",
    )
    audio_mulaw = models.BinaryField(
        null=True, blank=True, editable=False, help_text="G.711 mu-law, 8 kHz, no header"
    )
    rendered_at = models.DateTimeField(null=True, blank=True, editable=False)
    render_error = models.CharField(max_length=300, blank=True, editable=False)

    class Meta:
        ordering = ("policy", "language", "-version")
        constraints = (
            models.UniqueConstraint(
                fields=("policy", "language", "version"), name="wording_version_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.policy.name} {self.language} v{self.version}"
