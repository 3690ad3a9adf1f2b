"""Calls that live runs of parity placed, and the words of their callers as sound.

State only. A row is written before Twilio is asked for its call, so that a process that dies leaves
something to look for; ``calls.services.live_dials`` owns its steps. What was heard and said is
sealed, and goes with the call and with the past call that a scenario was taken from.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from calls.models.numbers import PhoneNumber
from calls.models.parity import ParityCall, ParityRun
from calls.models.records import Call
from voiceplatform.base.fields import EncryptedBinaryField, EncryptedJSONField
from voiceplatform.base.models import OrganisationOwned


class RunDial(OrganisationOwned):
    """One call that a run placed: our leg of it, and the call that came in for it."""

    class State(models.TextChoices):
        CLAIMED = "claimed", "About to be placed, or nobody knows yet"
        PLACED = "placed", "Placed, rings"
        ON = "on", "Answered"
        ENDED = "ended", "Over"
        VOID = "void", "Counts for nothing: it never came, or was cut off"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    parity_call = models.ForeignKey(ParityCall, on_delete=models.CASCADE, related_name="dials")
    number = models.ForeignKey(PhoneNumber, on_delete=models.CASCADE, related_name="run_dials")
    caller_e164 = models.CharField(max_length=16, help_text="A number of the same account")
    stack = models.CharField(
        max_length=6, choices=Call.Stack, help_text="Who is to answer it, whatever the route says"
    )
    state = models.CharField(max_length=7, choices=State, default=State.CLAIMED)
    caller_sid = models.CharField(
        max_length=34, blank=True, help_text="Twilio's, of the leg that we placed; empty: not known"
    )
    call = models.ForeignKey(
        Call,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="run_dials",
        help_text="The leg that came in, as the number's call; empty: it has not come",
    )
    expected_until = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Until then a call from that number to this one is taken for it; empty: none is",
    )
    stream_count = models.PositiveSmallIntegerField(default=0)
    stream_used = models.PositiveSmallIntegerField(
        default=0, help_text="The newest stream whose token was used"
    )
    step = models.PositiveSmallIntegerField(
        default=0, help_text="Which turn of the scenario is next"
    )
    next_step = models.JSONField(
        default=dict, blank=True, help_text='What our leg is told next, e.g. {"kind": "hangup"}'
    )
    heard = EncryptedJSONField(null=True, blank=True, help_text="What was said and heard, and when")
    said_seconds = models.FloatField(default=0, help_text="Sound of the caller's that was played")
    stream_seconds = models.FloatField(default=0, help_text="Of our leg's streams together")
    heard_seconds = models.FloatField(default=0, help_text="Sound that a transcriber was given")
    ended_by = models.CharField(
        max_length=20, blank=True, help_text="script, stuck, time, cancelled, other side, lost"
    )
    caller_seconds = models.PositiveIntegerField(default=0, help_text="Of our leg, by Twilio")
    cost_usd = models.DecimalField(
        max_digits=10, decimal_places=6, default=0, help_text="Both legs, the model and the words"
    )
    problem = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    placed_at = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at",)
        verbose_name = "call that a run placed"
        verbose_name_plural = "calls that runs placed"
        constraints = (
            # Two workers, or one that was taken for dead, cannot both call for one place.
            models.UniqueConstraint(
                fields=("parity_call",), name="run_dial_once", condition=~Q(state="void")
            ),
            # From one number to another one call rings at a time: that is how it is known.
            models.UniqueConstraint(
                fields=("number", "caller_e164"),
                name="run_dial_one_rings",
                condition=Q(expected_until__isnull=False),
            ),
            models.CheckConstraint(
                condition=Q(state__in=("claimed", "placed", "on", "ended", "void")),
                name="run_dial_state_known",
            ),
            models.CheckConstraint(
                condition=Q(stack__in=("direct", "vapi")), name="run_dial_stack_known"
            ),
        )
        indexes = (
            models.Index(
                fields=("number", "expected_until"),
                name="run_dial_expected",
                condition=Q(expected_until__isnull=False),
            ),
            models.Index(fields=("caller_sid",), name="run_dial_leg"),
        )

    def __str__(self) -> str:
        return f"{self.get_state_display()}: {self.stack}"


class CallerClip(models.Model):
    """A turn of a scenario as sound, rendered before a run's first call; gone with its last."""

    run = models.ForeignKey(ParityRun, on_delete=models.CASCADE, related_name="caller_clips")
    scenario = models.CharField(max_length=160)
    turn = models.PositiveSmallIntegerField()
    source_call = models.ForeignKey(
        Call,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        help_text="The past call that the scenario was taken from; it is erased with that call",
    )
    audio_mulaw = EncryptedBinaryField(help_text="G.711 mu-law, 8 kHz, no header")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("run", "scenario", "turn"), name="caller_clip_once"),
        )

    def __str__(self) -> str:
        return f"{self.scenario}, turn {self.turn}"
