"""Calls that were imported from logs of the old stack, and the imports that brought them.

State only. An imported call is a ``Call`` like any other, so pages, search, retention and erasure
reach it; what only a log knows stands here. It hangs on no number, revision or account: whoever
counts the calls of a number counts those that came here. Which number and assistant the log names
is in its row here. Written by ``calls.services.call_logs`` alone.
"""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from assistants.models import Assistant
from calls.models.numbers import PhoneNumber
from calls.models.records import Call
from voiceplatform.base.fields import EncryptedBinaryField, EncryptedJSONField
from voiceplatform.base.models import Job, OrganisationOwned


class CallLogImport(OrganisationOwned):
    """One import of call logs: where from, how far it came, what it brought and what was wrong."""

    class Source(models.TextChoices):
        API = "api", "Vapi's API"
        UPLOAD = "upload", "Uploaded files"
        FILES = "files", "Files of the command"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    source = models.CharField(max_length=6, choices=Source)
    label = models.CharField(max_length=300, help_text="Names of the files, or the API's host")
    since = models.DateTimeField(null=True, blank=True, help_text="Older calls were left out")
    cursor = models.JSONField(
        default=dict, blank=True, help_text="How far it came; it goes on from there"
    )
    counts = models.JSONField(default=dict, blank=True, help_text="Calls and lines by outcome")
    problems = models.JSONField(
        default=list, blank=True, help_text="The first lines that could not be read, and why"
    )
    job = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True, help_text="Empty: not to its end")

    class Meta:
        ordering = ("-created_at",)
        verbose_name = "import of call logs"
        verbose_name_plural = "imports of call logs"
        permissions = (("import_call_logs", "Can import call logs"),)
        indexes = (models.Index(fields=("organisation", "-created_at"), name="call_import_list"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(source__in=("api", "upload", "files")), name="call_import_source"
            ),
        )

    def __str__(self) -> str:
        return f"{self.label} {self.created_at:%Y-%m-%d %H:%M}"


class CallLogPiece(models.Model):
    """A piece of an uploaded log, sealed; gone when the import has read it."""

    log_import = models.ForeignKey(CallLogImport, on_delete=models.CASCADE, related_name="pieces")
    file_name = models.CharField(max_length=200)
    ordinal = models.PositiveIntegerField()
    data = EncryptedBinaryField()

    class Meta:
        ordering = ("log_import", "ordinal")
        constraints = (
            models.UniqueConstraint(fields=("log_import", "ordinal"), name="call_log_piece_once"),
        )

    def __str__(self) -> str:
        return f"{self.file_name} {self.ordinal}"


class ImportedCall(OrganisationOwned):
    """What a log says of one call beside its turns and tool calls."""

    class Consent(models.TextChoices):
        """Whether the caller agreed to be recorded, as far as the log says."""

        UNKNOWN = "unknown", "The log does not say"
        GRANTED = "granted", "Agreed"
        REFUSED = "refused", "Did not agree"

    call = models.OneToOneField(Call, on_delete=models.CASCADE, related_name="imported")
    log_id = models.CharField(max_length=64, blank=True, help_text="Vapi's id of the call")
    provider_sid = models.CharField(max_length=80, blank=True, help_text="The carrier's id")
    number = models.ForeignKey(
        PhoneNumber, on_delete=models.SET_NULL, null=True, blank=True, related_name="past_calls"
    )
    assistant = models.ForeignKey(
        Assistant, on_delete=models.SET_NULL, null=True, blank=True, related_name="past_calls"
    )
    log_import = models.ForeignKey(
        CallLogImport, on_delete=models.SET_NULL, null=True, blank=True, related_name="calls"
    )
    was_here = models.BooleanField(
        default=False, help_text="The call came by this platform, which handed it to the old stack"
    )
    is_whole = models.BooleanField(
        default=True, help_text="The log tells the call to its end; else only a part is known"
    )
    has_times = models.BooleanField(
        default=True, help_text="The log has times; else only the order of things is known"
    )
    consent = models.CharField(max_length=7, choices=Consent, default=Consent.UNKNOWN)
    tellings = models.JSONField(
        default=list, blank=True, help_text="Checksums of what was read of it already"
    )
    facts = EncryptedJSONField(
        null=True, blank=True, help_text="Costs, delays and ids that the log names"
    )
    structured = EncryptedJSONField(
        null=True, blank=True, help_text="What was made of the words: structured outputs"
    )
    recordings = EncryptedJSONField(
        null=True, blank=True, help_text="Where the old stack keeps its recordings"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("-created_at",)
        verbose_name = "imported call"
        indexes = (
            models.Index(fields=("organisation", "provider_sid"), name="imported_call_by_sid"),
            models.Index(fields=("assistant", "call"), name="imported_call_by_assistant"),
            models.Index(fields=("number", "call"), name="imported_call_by_number"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("organisation", "log_id"),
                name="imported_call_once",
                condition=~Q(log_id=""),
            ),
            models.CheckConstraint(
                condition=Q(consent__in=("unknown", "granted", "refused")),
                name="imported_call_consent_known",
            ),
        )

    def __str__(self) -> str:
        return self.log_id or self.provider_sid
