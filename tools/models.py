"""Tools an assistant may call, and how their servers are asked.

Vapi's tool objects stand with the columns the platform works with: the raw document is kept sealed
and whole; secrets have columns of their own and never appear in ``document_redacted``. Credentials
and an organisation's own server are sealed likewise.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from voiceplatform.base.fields import EncryptedJSONField, EncryptedTextField
from voiceplatform.base.models import OrganisationOwned


class Tool(OrganisationOwned):
    """One callable thing; its id is Vapi's and never changes on re-import."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    type = models.CharField(max_length=60, default="function", help_text="Vapi's tool type")
    name = models.CharField(max_length=200, help_text="Function name as the tool server knows it")
    description = models.TextField(blank=True)
    parameters = models.JSONField(
        default=dict, blank=True, help_text="JSON Schema of the arguments"
    )
    server_url = EncryptedTextField(blank=True, default="", help_text="May carry query tokens")
    server_url_host = models.CharField(max_length=255, blank=True, help_text="Shown in lists")
    server_secret = EncryptedTextField(blank=True, default="")
    server_headers = EncryptedJSONField(null=True, blank=True)
    timeout_seconds = models.PositiveSmallIntegerField(default=20)
    is_async = models.BooleanField(default=False)
    messages = models.JSONField(default=list, blank=True)
    destinations = models.JSONField(default=list, blank=True)
    is_inline = models.BooleanField(
        default=False, help_text="Written inside an assistant's document; not in the tool list"
    )
    document = EncryptedJSONField(null=True, blank=True)
    document_redacted = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("name", "id")
        constraints = (
            models.CheckConstraint(
                condition=Q(timeout_seconds__gte=1, timeout_seconds__lte=300),
                name="tool_timeout_1_300",
            ),
        )
        indexes = (models.Index(fields=("organisation", "name"), name="tool_list"),)

    def __str__(self) -> str:
        return f"{self.name} ({self.type})"


class ServerCredential(OrganisationOwned):
    """How requests to a server prove who sends them: what ``server.credentialId`` names.

    ``plan`` has the form of Vapi's ``authenticationPlan`` (vapi.md 4.2). A certificate and a proxy
    may stand beside it or alone.
    """

    class Kind(models.TextChoices):
        NONE = "none", "none"
        BEARER = "bearer", "token"
        OAUTH2 = "oauth2", "OAuth2 client credentials"
        HMAC = "hmac", "signature (HMAC)"

    credential_id = models.UUIDField(default=uuid.uuid4, help_text="What tools name; Vapi's or new")
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=6, choices=Kind, default=Kind.BEARER)
    plan = EncryptedJSONField(null=True, blank=True)
    certificate_pem = EncryptedTextField(blank=True, default="")
    key_pem = EncryptedTextField(blank=True, default="")
    proxy_url = EncryptedTextField(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("name", "id")
        constraints = (
            models.UniqueConstraint(
                fields=("organisation", "credential_id"), name="server_credential_once"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=("none", "bearer", "oauth2", "hmac")),
                name="server_credential_kind_known",
            ),
        )

    def __str__(self) -> str:
        return self.name


class DefaultServer(OrganisationOwned):
    """Who answers the tools of an organisation for which nobody else is named (vapi.md 2.5)."""

    url = EncryptedTextField(help_text="May carry query tokens")
    url_host = models.CharField(max_length=255, blank=True, help_text="Shown in lists")
    secret = EncryptedTextField(blank=True, default="")
    headers = EncryptedJSONField(null=True, blank=True)
    timeout_seconds = models.PositiveSmallIntegerField(default=20)
    credential = models.ForeignKey(
        ServerCredential, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "server for tools without one"
        verbose_name_plural = "servers for tools without one"
        constraints = (
            models.UniqueConstraint(fields=("organisation",), name="default_server_once"),
            models.CheckConstraint(
                condition=Q(timeout_seconds__gte=1, timeout_seconds__lte=300),
                name="default_server_timeout_1_300",
            ),
        )

    def __str__(self) -> str:
        return self.url_host or "server"
