"""Admin of credentials and of the server that answers tools without one of their own.

For people who write no code. Secrets go in and never come out; what is entered is checked as far as
it can be without asking anybody. ``tools.admin`` imports it.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from tools.encryption import PLAN, KeyUnusable, encrypter, encryption_plan, read_encryption
from tools.models import DefaultServer, ServerCredential
from tools.services import url_host
from tools.wire.vapi_credential import read_credential
from voiceplatform.base.egress import EgressRefused, destination, encrypted
from voiceplatform.base.http import client_ssl_context
from voiceplatform.base.redaction_urls import MASK, keep_url_secrets, redact_url
from voiceplatform.base.scoped_admin import ScopedAdmin, ScopedForm, badge
from voiceplatform.base.secret_form import SecretFormField, SecretInput

Kind = ServerCredential.Kind


class SecretLines(SecretInput):
    """A secret of several lines: a text area that is always empty."""

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None
    ) -> SafeString:
        """Render without ``value``."""
        area = UnfoldAdminTextareaWidget(
            {
                "rows": 4,
                "autocomplete": "off",
                "spellcheck": "false",
                "placeholder": "Leave empty to keep the stored value" if self.is_set else "",
            }
        ).render(name, "", {"id": (attrs or {}).get("id", f"id_{name}")})
        state = "set" if self.is_set else "not set"
        clear = format_html(
            ' <label class="vp-secret-clear"><input type="checkbox" name="{}-clear" value="1"> '
            "Clear the stored value</label>",
            name,
        )
        return format_html(
            '<div class="vp-secret">{}<div class="vp-secret-state">{}{}</div></div>',
            area,
            state,
            clear if self.is_set else "",
        )


def _secret(label: str, help_text: str = "") -> SecretFormField:
    return SecretFormField(label=label, required=False, help_text=help_text)


def _lines(label: str, help_text: str = "") -> SecretFormField:
    return SecretFormField(label=label, required=False, help_text=help_text, widget=SecretLines)


def _text(label: str, help_text: str = "", placeholder: str = "") -> forms.CharField:
    return forms.CharField(
        label=label,
        required=False,
        max_length=300,
        help_text=help_text,
        widget=UnfoldAdminTextInputWidget({"placeholder": placeholder}),
    )


def _switch(label: str, help_text: str = "") -> forms.BooleanField:
    return forms.BooleanField(
        label=label, required=False, help_text=help_text, widget=UnfoldBooleanSwitchWidget
    )


def _choice(label: str, *words: str) -> forms.ChoiceField:
    return forms.ChoiceField(
        label=label,
        required=False,
        choices=[(word, word) for word in words],
        widget=UnfoldAdminSelectWidget,
    )


# Form field: name in Vapi's authenticationPlan, by kind. Secrets first.
_PLANS: Final[dict[str, dict[str, str]]] = {
    Kind.BEARER: {
        "token": "token",
        "header_name": "headerName",
        "has_prefix": "bearerPrefixEnabled",
    },
    Kind.OAUTH2: {
        "client_secret": "clientSecret",
        "token_url": "url",
        "client_id": "clientId",
        "scope": "scope",
    },
    Kind.HMAC: {
        "secret_key": "secretKey",
        "algorithm": "algorithm",
        "signature_header": "signatureHeader",
        "timestamp_header": "timestampHeader",
        "signature_prefix": "signaturePrefix",
        "include_timestamp": "includeTimestamp",
        "payload_format": "payloadFormat",
        "message_id_header": "messageIdHeader",
        "encoding": "signatureEncoding",
        "secret_is_base64": "secretIsBase64",
    },
}
_SECRETS: Final = {"token": Kind.BEARER, "client_secret": Kind.OAUTH2, "secret_key": Kind.HMAC}
_USUALLY_ON: Final = frozenset({"has_prefix", "include_timestamp"})
_NEEDED: Final[dict[str, tuple[str, ...]]] = {
    Kind.NONE: (),
    Kind.BEARER: ("token",),
    Kind.OAUTH2: ("token_url", "client_id", "client_secret"),
    Kind.HMAC: ("secret_key",),
}


class CredentialForm(ScopedForm):
    """A credential, its plan as fields."""

    token = _secret("Token")
    header_name = _text("Header", "Empty: Authorization.", "Authorization")
    has_prefix = _switch("Write “Bearer” before the token")
    token_url = _text("Address of the token server", "", "https://")
    client_id = _text("Client ID")
    client_secret = _secret("Client secret")
    scope = _text("Scope", "Only if the token server asks for one.")
    secret_key = _secret("Signing secret")
    algorithm = _choice("Algorithm", "sha256", "sha512", "sha1")
    signature_header = _text("Header of the signature", "", "x-signature")
    timestamp_header = _text("Header of the time", "", "x-timestamp")
    signature_prefix = _text("Before the signature", "E.g. sha256=")
    include_timestamp = _switch("Send the time and sign it")
    payload_format = _text(
        "What is signed",
        "Places: {body} {timestamp} {method} {url} {svix-id}.",
        "{timestamp}.{body}",
    )
    message_id_header = _text("Header of the message id", "Empty: none is sent.")
    encoding = _choice("Written as", "hex", "base64")
    secret_is_base64 = _switch("The secret is base64")
    certificate_pem = _lines("Client certificate (PEM)", "With those between it and its authority.")
    key_pem = _lines("Its key (PEM)", "Without a passphrase.")
    proxy_url = _secret("Proxy", "E.g. http://user:password@proxy.example.com:3128")
    encryption_pem = forms.CharField(
        label="Public key (PEM)",
        required=False,
        max_length=10_000,
        help_text=(
            "RSA. What a tool names under encryptedPaths is encrypted with it (RSA-OAEP-256) "
            "before it is sent, and masked in the records."
        ),
        widget=UnfoldAdminTextareaWidget({"rows": 4, "spellcheck": "false"}),
    )

    class Meta:
        model = ServerCredential
        fields = (
            *("organisation", "name", "credential_id", "kind"),
            *("certificate_pem", "key_pem", "proxy_url"),
        )
        labels = {"credential_id": "ID", "kind": "Way"}  # noqa: RUF012 - read by Django so
        help_texts = {  # noqa: RUF012 - read by Django as it stands
            "credential_id": "What tools name as credentialId. If Vapi kept it: its id there.",
            "kind": "What a server asks for before it answers.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plan = self._stored_plan()
        for kind, names in _PLANS.items():
            for name, key in names.items():
                if name in self.fields and name not in _SECRETS:
                    usual = name in _USUALLY_ON or None
                    value = plan.get(key) if kind == self.instance.kind else None
                    if name == "token_url" and isinstance(value, str):
                        value = redact_url(value)
                    self.initial.setdefault(name, usual if value is None else value)
        if "encryption_pem" in self.fields:
            with contextlib.suppress(KeyUnusable):
                self.initial.setdefault("encryption_pem", read_encryption(plan))

    def _stored_plan(self) -> dict[str, Any]:
        plan = self.instance.plan
        return dict(plan) if isinstance(plan, dict) else {}

    def stored_secret(self, name: str) -> str:
        """Look into the plan for what is part of it."""
        if name not in _SECRETS:
            return super().stored_secret(name)
        if _SECRETS[name] != self._kind_stored:
            return ""
        return str(self._stored_plan().get(_PLANS[self._kind_stored][name]) or "")

    @property
    def _kind_stored(self) -> str:
        """Return the kind of the row; the one in the form is not put into it before it is valid."""
        return str(self.instance.kind)

    def clean(self) -> dict[str, Any]:
        """Make the plan of the fields of its kind, and try what can be tried."""
        cleaned = super().clean()
        kind = cleaned.get("kind") or self._kind_stored
        stored, token_url = self._stored_plan().get("url"), cleaned.get("token_url") or ""
        if isinstance(stored, str) and MASK in token_url:
            cleaned["token_url"] = keep_url_secrets(token_url, stored)
        for name in _NEEDED[kind]:
            if not cleaned.get(name):
                self.add_error(name, "This way cannot do without it.")
        for name in ("token_url", "proxy_url"):
            self._check_address(name, cleaned.get(name) or "")
        pems = cleaned.get("certificate_pem") or "", cleaned.get("key_pem") or ""
        if any(pems):
            try:
                client_ssl_context(*pems)
            except OSError:
                self.add_error(
                    "certificate_pem", "This is no certificate with its key. Enter both again."
                )
        pem = str(cleaned.get("encryption_pem") or "").strip()
        if pem:
            try:
                encrypter(pem)
            except KeyUnusable as error:
                self.add_error("encryption_pem", str(error))
        if not self.errors:
            plan = self._plan(kind, cleaned) or {}
            plan |= {PLAN: encryption_plan(pem)} if pem else {}
            self.instance.plan = plan or None
        return cleaned

    def _check_address(self, name: str, url: str) -> None:
        try:
            if url and name == "proxy_url":
                destination(url)
            elif url:
                encrypted(url)
        except EgressRefused as refusal:
            self.add_error(name, str(refusal))

    def _plan(self, kind: str, cleaned: dict[str, Any]) -> dict[str, Any] | None:
        if kind == Kind.NONE:
            return None
        plan: dict[str, Any] = {"type": kind}
        for name, key in _PLANS[kind].items():
            value = cleaned.get(name)
            if isinstance(value, bool) or value:
                plan[key] = value
        if read_credential(plan) is None:
            raise ValidationError("This is not enough to prove who sends a request.")
        return plan


@admin.register(ServerCredential)
class ServerCredentialAdmin(ScopedAdmin):
    """Tokens, signatures, certificates and proxies for tool servers."""

    form = CredentialForm
    list_display = ("name", "kind_shown", "credential_id", "updated_at")
    list_filter = ("kind",)
    search_fields = ("name", "credential_id")
    hidden_lookups = ("plan", "certificate_pem", "key_pem", "proxy_url")
    list_hint = (
        "How requests to tool servers prove that they come from us, where a shared secret is not "
        "enough. A tool names one by its id."
    )
    actions: Any = None

    @badge(description="Way", ordering="kind", label=True)
    def kind_shown(self, obj: ServerCredential) -> str:
        """Return the kind in words."""
        return str(obj.get_kind_display())

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Put each way by itself."""
        return [
            (None, {"fields": ("organisation", "name", "credential_id", "kind")}),
            ("Token", {"fields": tuple(_PLANS[Kind.BEARER])}),
            ("OAuth2", {"fields": tuple(_PLANS[Kind.OAUTH2])}),
            ("Signature", {"fields": tuple(_PLANS[Kind.HMAC])}),
            ("Way to the server", {"fields": ("certificate_pem", "key_pem", "proxy_url")}),
            ("Encrypted arguments", {"fields": ("encryption_pem",)}),
        ]


class DefaultServerForm(ScopedForm):
    """Who answers when nobody else is named."""

    headers_entered = _lines(
        "Headers", "One a line, e.g. X-Team: desk. They replace the stored ones."
    )

    class Meta:
        model = DefaultServer
        fields = ("organisation", "url", "secret", "timeout_seconds", "credential")
        labels = {  # noqa: RUF012 - read by Django as it stands
            "url": "Address",
            "secret": "Shared secret",
            "timeout_seconds": "Give up after (seconds)",
        }
        help_texts = {  # noqa: RUF012 - read by Django as it stands
            "url": "Shown as host only, because addresses may carry access tokens.",
            "secret": "Sent as the header X-Vapi-Secret.",
        }

    def stored_secret(self, name: str) -> str:
        """Write stored headers as lines."""
        if name != "headers_entered":
            return super().stored_secret(name)
        return "\n".join(f"{key}: {value}" for key, value in (self.instance.headers or {}).items())

    def clean(self) -> dict[str, Any]:
        """Check the address and read the headers."""
        cleaned = super().clean()
        try:
            if cleaned.get("url"):
                encrypted(cleaned["url"])
        except EgressRefused as refusal:
            self.add_error("url", str(refusal))
        headers: dict[str, str] = {}
        for line in str(cleaned.get("headers_entered") or "").splitlines():
            name, colon, value = line.partition(":")
            if not line.strip():
                continue
            if not colon or not _is_header_name(name.strip()):
                self.add_error("headers_entered", "Write each header as “Name: value”.")
                break
            headers[name.strip()] = value.strip()
        self.instance.headers = headers or None
        self.instance.url_host = url_host(str(cleaned.get("url") or ""))
        return cleaned


def _is_header_name(name: str) -> bool:
    return bool(name) and name.isascii() and all(each.isalnum() or each in "-_" for each in name)


@admin.register(DefaultServer)
class DefaultServerAdmin(ScopedAdmin):
    """The server of an organisation."""

    form = DefaultServerForm
    list_display = ("url_host", "timeout_seconds", "credential", "updated_at")
    list_select_related = ("credential",)
    hidden_lookups = ("url", "secret", "headers")
    list_hint = (
        "Answers the calls of tools for which neither the tool, nor its assistant, nor the phone "
        "number names a server. One for each organisation."
    )
    actions: Any = None

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Put what is always needed first."""
        fields = ("organisation", "url", "secret", "headers_entered", "timeout_seconds")
        return [(None, {"fields": (*fields, "credential")})]
