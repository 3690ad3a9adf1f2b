"""What became of the sound of a call: one recording of ours, and deletions that Twilio owes us.

State only. A recording's row goes with its call; a deletion hangs on no call, so that it is done
even when everything else of the call has gone.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from calls.models.connections import TwilioAccount
from calls.models.records import Call
from voiceplatform.base.models import OrganisationOwned


class Recording(OrganisationOwned):
    """The recording of one call; the sound itself is a sealed file of the instance."""

    class State(models.TextChoices):
        WANTED = "wanted", "Twilio is being asked to record"
        RECORDING = "recording", "Twilio records"
        READY = "ready", "Waits to be fetched from Twilio"
        STORED = "stored", "Stored here"
        ABSENT = "absent", "Twilio recorded nothing"
        FAILED = "failed", "Could not be made or fetched"
        REMOVED = "removed", "Taken away again"

    class Origin(models.TextChoices):
        TWILIO = "twilio", "Made at Twilio for us"
        LOG = "log", "Fetched from the old stack on request"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    call = models.OneToOneField(Call, on_delete=models.CASCADE, related_name="recording")
    # In the database too: while a new version is brought out, the one before it writes rows.
    origin = models.CharField(
        max_length=6, choices=Origin, default=Origin.TWILIO, db_default=Origin.TWILIO.value
    )
    state = models.CharField(max_length=9, choices=State, default=State.WANTED)
    recording_sid = models.CharField(max_length=34, blank=True, help_text="Twilio's id")
    channels = models.PositiveSmallIntegerField(
        default=0, help_text="2: the caller is the first channel, who answers the second"
    )
    duration_seconds = models.PositiveIntegerField(default=0)
    offset_ms = models.IntegerField(
        null=True, blank=True, help_text="When it begins, from the call's first stream"
    )
    size_bytes = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True, help_text="Of the sound as Twilio gave it")
    attempts = models.PositiveSmallIntegerField(default=0, help_text="Of the step that is next")
    next_attempt_at = models.DateTimeField(null=True, blank=True, help_text="Empty: nothing to do")
    problem = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    stored_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at",)
        indexes = (
            models.Index(fields=("organisation", "-created_at"), name="recording_list"),
            models.Index(
                fields=("next_attempt_at",),
                name="recording_due",
                condition=Q(next_attempt_at__isnull=False),
            ),
            models.Index(
                fields=("call",), name="recording_going_on", condition=Q(state="recording")
            ),
        )

    def __str__(self) -> str:
        return f"Recording of {self.call_id}"


class RecordingRemoval(OrganisationOwned):
    """A deletion of recordings at Twilio that is not done yet; the row goes when it is."""

    account = models.ForeignKey(TwilioAccount, on_delete=models.CASCADE, related_name="+")
    call_sid = models.CharField(max_length=34)
    recording_sid = models.CharField(
        max_length=34, blank=True, help_text="Empty: every recording of the call"
    )
    reason = models.CharField(max_length=100)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(db_index=True)
    problem = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("next_attempt_at",)
        verbose_name = "recording to delete at Twilio"
        verbose_name_plural = "recordings to delete at Twilio"
        constraints = (
            models.UniqueConstraint(fields=("call_sid", "recording_sid"), name="removal_once"),
        )

    def __str__(self) -> str:
        return self.recording_sid or self.call_sid
