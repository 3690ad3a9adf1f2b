"""What is kept of tool servers: requests with their answers, and what a check of one found.

Bodies are redacted before they come here (``calls.services.tool_records``) and sealed, since they
repeat what was said. Must not hold a secret of any server.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from calls.models.records import Call
from tools.models import Tool
from voiceplatform.base.fields import EncryptedBinaryField
from voiceplatform.base.models import OrganisationOwned


class ToolExchange(models.Model):
    """One request to a tool server during a call, for one or several function calls."""

    call = models.ForeignKey(Call, on_delete=models.CASCADE, related_name="tool_exchanges")
    created_at = models.DateTimeField(auto_now_add=True)
    host = models.CharField(max_length=255, blank=True)
    url_shown = models.CharField(max_length=500, blank=True, help_text="Without secrets")
    status = models.PositiveSmallIntegerField(default=0, help_text="0: no answer came")
    attempts = models.PositiveSmallIntegerField(default=1)
    duration_ms = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=200, blank=True, help_text="Why no answer came")
    request_bytes = models.PositiveIntegerField(default=0)
    response_bytes = models.PositiveIntegerField(default=0)
    content = EncryptedBinaryField(
        null=True, blank=True, help_text="Both bodies, redacted: zlib-compressed JSON"
    )

    class Meta:
        ordering = ("call", "id")
        verbose_name = "request to a tool server"
        verbose_name_plural = "requests to tool servers"

    def __str__(self) -> str:
        return f"{self.host or 'tool server'} {self.status or self.error}"


class ToolCheck(OrganisationOwned):
    """What the last check of a tool's server found, and whether its owner allows test requests."""

    class Verdict(models.TextChoices):
        UNKNOWN = "unknown", "not checked"
        OK = "ok", "works"
        UNSURE = "unsure", "cannot tell"
        FAILED = "failed", "does not work"

    tool = models.OneToOneField(Tool, on_delete=models.CASCADE, related_name="check_result")
    allows_marked_call = models.BooleanField(
        default=False, help_text="The owner of the server allows requests that are marked as a test"
    )
    allowed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    allowed_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)
    verdict = models.CharField(max_length=8, choices=Verdict, default=Verdict.UNKNOWN)
    was_dry = models.BooleanField(default=True, help_text="Nothing but TLS and HEAD was tried")
    answers = models.JSONField(
        default=list, blank=True, help_text="Each question with its state, words and fix"
    )

    class Meta:
        ordering = ("tool__name", "id")
        permissions = (("try_tool", "Can send test requests to tool servers"),)
        indexes = (models.Index(fields=("organisation", "verdict"), name="tool_check_by_verdict"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(verdict__in=("unknown", "ok", "unsure", "failed")),
                name="tool_check_verdict_known",
            ),
        )

    def __str__(self) -> str:
        return f"{self.tool}: {self.get_verdict_display()}"


class SilentHost(OrganisationOwned):
    """A tool server that gave no answer several times in a row, as one process has met it.

    Each process that carries calls judges for itself (``tools.hosts``) and writes its own rows; one
    that is gone leaves them, so a row says nothing once it is old.
    """

    host = models.CharField(max_length=300, help_text="Scheme, host and port")
    process = models.CharField(max_length=100, help_text="Which process has met it")
    failures = models.PositiveIntegerField(default=0)
    since = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        ordering = ("-last_at", "id")
        verbose_name = "tool server that gives no answer"
        verbose_name_plural = "tool servers that give no answer"
        constraints = (
            models.UniqueConstraint(
                fields=("organisation", "host", "process"), name="silent_host_once"
            ),
        )

    def __str__(self) -> str:
        return self.host
