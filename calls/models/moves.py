"""Moves of numbers at Twilio: one row per move here and per way back, with its snapshot.

State only. What follows a step is ``calls.numbers.switch.steps``; who does it is
``calls.services.number_moves``. The snapshot and the state hold addresses with tokens, so they are
sealed. A move here that nobody undid is the number's way back: ``closed_at`` is empty then.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from calls.models.numbers import PhoneNumber
from voiceplatform.base.fields import EncryptedJSONField
from voiceplatform.base.models import OrganisationOwned


class NumberMove(OrganisationOwned):
    """One move of one number; at most one is open per number."""

    class Direction(models.TextChoices):
        HERE = "here", "To this platform"
        BACK = "back", "Back to how it was"

    class Step(models.TextChoices):
        """The steps of ``calls.numbers.switch.steps``, for people."""

        STORED = "stored", "Snapshot kept, about to be written"
        POSTED = "posted", "Written, to be compared"
        COMPARED = "compared", "Written and compared, test call next"
        TESTED = "tested", "Waits for the first caller"
        DONE = "done", "Done"
        STOPPED = "stopped", "Stopped, needs a person"
        ABANDONED = "abandoned", "Left as it is"
        # No step of the machine's: a way back took the move over, wherever it was.
        REPLACED = "replaced", "Taken over by its way back"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    number = models.ForeignKey(PhoneNumber, on_delete=models.CASCADE, related_name="moves")
    direction = models.CharField(max_length=4, choices=Direction)
    step = models.CharField(max_length=9, choices=Step, default=Step.STORED)
    state = EncryptedJSONField(help_text="What steps.Move is made of; stored before each action")
    snapshot = EncryptedJSONField(
        null=True, help_text="How the number was at Twilio before; of a move here only"
    )
    restores = models.ForeignKey(
        "self",
        on_delete=models.RESTRICT,
        null=True,
        blank=True,
        related_name="restored_by",
        help_text="The move here that a way back undoes",
    )
    route_before = models.JSONField(
        default=dict, blank=True, help_text="The number's route before it came here"
    )
    may_be_written = models.BooleanField(
        default=False, help_text="A change was sent to Twilio, or was about to be"
    )
    writes = models.PositiveSmallIntegerField(default=0, help_text="How often it was sent")
    problem = models.CharField(max_length=500, blank=True, help_text="What it waits for, in words")
    stop_code = models.CharField(max_length=20, blank=True)
    who = models.CharField(max_length=200, help_text="As audit entries name people")
    why = models.CharField(max_length=500, blank=True)
    key = models.CharField(
        max_length=200, blank=True, help_text="The same order twice is one move; empty: none"
    )
    test_state = models.CharField(
        max_length=10, blank=True, help_text="placed, answered, failed, skipped, or none yet"
    )
    test_words = models.CharField(max_length=300, blank=True)
    test_call_sid = models.CharField(max_length=34, blank=True, help_text="Twilio's, of our call")
    test_caller = models.CharField(max_length=16, blank=True)
    test_placed_at = models.DateTimeField(null=True, blank=True)
    tests_placed = models.PositiveSmallIntegerField(default=0)
    test_seen_sid = models.CharField(
        max_length=34, blank=True, help_text="The test call as it came in here"
    )
    first_call_sid = models.CharField(
        max_length=34, blank=True, help_text="The first caller's call, as it came in here"
    )
    settle_until = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Until then a move that was taken over may still be writing; it is looked again",
    )
    lease_token = models.CharField(max_length=32, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    next_at = models.DateTimeField(
        null=True, blank=True, help_text="Empty: nothing to do by itself"
    )
    silences = models.PositiveSmallIntegerField(
        default=0, help_text="How often in a row Twilio did not answer"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When the snapshot stopped being the way back: it was used, or a newer move has "
        "its own",
    )

    class Meta:
        ordering = ("-created_at",)
        verbose_name = "move of a number"
        verbose_name_plural = "moves of numbers"
        indexes = (
            models.Index(fields=("number", "-created_at"), name="move_of_number"),
            models.Index(
                fields=("next_at",),
                name="move_due",
                condition=Q(finished_at__isnull=True),
            ),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("number",),
                name="move_one_open",
                condition=Q(finished_at__isnull=True),
            ),
            models.UniqueConstraint(
                fields=("number",),
                name="move_one_way_back",
                condition=Q(direction="here", closed_at__isnull=True),
            ),
            models.UniqueConstraint(
                fields=("number", "direction", "key"),
                name="move_once_per_key",
                condition=~Q(key=""),
            ),
            models.CheckConstraint(
                condition=Q(direction="back", restores__isnull=False)
                | Q(direction="here", snapshot__isnull=False),
                name="move_has_its_snapshot",
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_direction_display()}, {self.get_step_display().lower()}"
