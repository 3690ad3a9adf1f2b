"""Where callers reach a person: a destination, when somebody is there, and what happens else.

Hours and holidays are text as people write it; ``calls.numbers.hours`` reads them.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from voiceplatform.base.models import OrganisationOwned

KEYS = "0123456789*#"


class OperatorDesk(OrganisationOwned):
    """A person or team that calls are handed to; used by numbers, or the organisation's default."""

    class Outside(models.TextChoices):
        """What callers meet when nobody is there."""

        NUMBER = "number", "Another number answers"
        MESSAGE = "message", "A spoken message, then the call ends"
        NOTHING = "nothing", "Nothing: the assistant goes on"

    class Unanswered(models.TextChoices):
        """What callers meet when it rings and nobody takes the call."""

        ASSISTANT = "assistant", "The assistant goes on, and says that nobody answered"
        NUMBER = "number", "Another number is tried, then the assistant goes on"
        MESSAGE = "message", "A spoken message, then the call ends"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100)
    destination = models.CharField(max_length=255, help_text="E.164 or sip:user@host")
    is_default = models.BooleanField(
        default=False, help_text="For every number that names no destination of its own"
    )
    key = models.CharField(
        max_length=1, blank=True, default="0", help_text="Pressed alone; empty: no key"
    )
    zone = models.CharField(max_length=64, default="UTC", help_text="IANA, e.g. Europe/Berlin")
    always_open = models.BooleanField(default=True)
    hours = models.JSONField(
        default=dict, blank=True, help_text='e.g. {"mon": "09:00-12:00, 13:00-17:00"}'
    )
    holidays = models.TextField(blank=True, help_text="2026-12-25 Christmas, one a line")
    outside = models.CharField(max_length=8, choices=Outside, default=Outside.MESSAGE)
    outside_destination = models.CharField(max_length=255, blank=True)
    outside_message = models.CharField(max_length=500, blank=True)
    announcement = models.CharField(
        max_length=300, blank=True, help_text="Said before it rings; empty: a sentence of ours"
    )
    unanswered = models.CharField(max_length=9, choices=Unanswered, default=Unanswered.ASSISTANT)
    unanswered_destination = models.CharField(max_length=255, blank=True)
    no_answer_message = models.CharField(
        max_length=500,
        blank=True,
        help_text="When nobody takes the call and the assistant cannot go on either",
    )
    ring_seconds = models.PositiveSmallIntegerField(default=30)
    shows_caller = models.BooleanField(
        default=True, help_text="The caller's own number is shown, else the number that was called"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("name",)
        verbose_name = "operator destination"
        constraints = (
            models.UniqueConstraint(
                fields=("organisation",), name="desk_one_default", condition=Q(is_default=True)
            ),
            models.CheckConstraint(
                condition=Q(outside__in=("number", "message", "nothing")),
                name="desk_outside_known",
            ),
            models.CheckConstraint(
                condition=Q(unanswered__in=("assistant", "number", "message")),
                name="desk_unanswered_known",
            ),
            models.CheckConstraint(
                condition=Q(key__in=("", *KEYS)),
                name="desk_key_is_one",
            ),
            # Twilio takes 5 to 600 seconds.
            models.CheckConstraint(
                condition=Q(ring_seconds__gte=5, ring_seconds__lte=600), name="desk_rings_5_to_600"
            ),
        )

    def __str__(self) -> str:
        return self.name
