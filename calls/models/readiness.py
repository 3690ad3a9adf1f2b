"""What is known of each number before it is moved, of each Twilio account, and of models' limits.

Rows that ``calls.services.readiness`` and ``calls.services.model_limits`` write. Facts and findings
are plain values, each fact with its source and date; an address in them is redacted before it is
stored, so that nothing here has to be sealed.
"""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from assistants.models import AssistantRevision
from calls.models.connections import ProviderConnection, TwilioAccount
from calls.models.numbers import PhoneNumber
from voiceplatform.base.models import Job, OrganisationOwned


class NumberReadiness(OrganisationOwned):
    """Whether one number can be moved: one colour, one reason, one next step."""

    class Colour(models.TextChoices):
        """The worst of what was found."""

        RED = "red", "Blocked"
        AMBER = "amber", "To be looked at"
        GREEN = "green", "Ready"
        GREY = "grey", "Not known"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    number_e164 = models.CharField("number", max_length=40, help_text="As it is dialled")
    number = models.OneToOneField(
        PhoneNumber,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="readiness",
        help_text="Empty: it is at Twilio or in an import, and cannot answer here yet",
    )
    companion_id = models.UUIDField(
        null=True, blank=True, editable=False, help_text="What an import said about it"
    )
    account = models.ForeignKey(
        TwilioAccount,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="The Twilio account that has it",
    )
    twilio_sid = models.CharField(max_length=34, blank=True, help_text="Twilio's id, PN…")
    colour = models.CharField(max_length=5, choices=Colour)
    reason = models.CharField(max_length=120, help_text="The finding that decides the colour")
    next_step = models.CharField(max_length=160, blank=True, help_text="What to do about it")
    next_link = models.CharField(
        max_length=20, blank=True, editable=False, help_text="Which page the step is done on"
    )
    next_target = models.CharField(max_length=36, blank=True, editable=False)
    findings = models.JSONField(default=list, blank=True, help_text="All findings, worst first")
    facts = models.JSONField(default=list, blank=True, help_text="Each with its source and date")
    sources = models.JSONField(
        default=list, blank=True, editable=False, help_text="Documents that were read, by revision"
    )
    checked_at = models.DateTimeField(help_text="When this was last put together")
    job = models.ForeignKey(
        Job, on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )

    class Meta:
        ordering = ("number_e164",)
        verbose_name = "readiness of a number"
        verbose_name_plural = "readiness"
        permissions = (("check_readiness", "Can check which numbers are ready"),)
        indexes = (models.Index(fields=("organisation", "colour"), name="readiness_by_colour"),)
        constraints = (
            models.UniqueConstraint(
                fields=("organisation", "number_e164"), name="readiness_number_once"
            ),
            models.CheckConstraint(
                condition=Q(colour__in=("red", "amber", "green", "grey")),
                name="readiness_colour_known",
            ),
        )

    def __str__(self) -> str:
        return self.number_e164


class AudibleAcceptance(OrganisationOwned):
    """A person's word that callers may hear something differently; of one document as it was."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    source = models.CharField(
        max_length=80,
        help_text="The document: revision: and its id, or document: and its SHA-256 in a squad",
    )
    revision = models.ForeignKey(
        AssistantRevision,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        help_text="The assistant's revision; another one asks again. Empty: a squad holds it",
    )
    words = models.JSONField(help_text="What was accepted, each finding in its words")
    who = models.CharField(max_length=200, help_text="user:name")
    why = models.CharField(max_length=500)
    at = models.DateTimeField()

    class Meta:
        ordering = ("-at",)
        verbose_name = "accepted difference"
        verbose_name_plural = "accepted differences"
        permissions = (("accept_audible", "Can accept what callers hear differently"),)
        indexes = (
            models.Index(fields=("organisation", "source"), name="acceptance_of_source"),
            models.Index(fields=("organisation", "-at"), name="acceptance_list"),
        )

    def __str__(self) -> str:
        return f"{len(self.words)} accepted of {self.revision or 'a member of a squad'}"


class AccountFacts(OrganisationOwned):
    """What Twilio says of one account, and what only a person can say of it, each with its date."""

    class Profile(models.TextChoices):
        """What decides how many calls an account takes at once (twilio.md 8.1)."""

        UNKNOWN = "", "Not known"
        NONE = "none", "No approved profile (2 calls at once)"
        INDIVIDUAL = "individual", "Individual (3 calls at once)"
        BUSINESS = "business", "Business (no limit)"
        OLDER = "older", "Upgraded before 3 February 2026 (no limit)"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.OneToOneField(TwilioAccount, on_delete=models.CASCADE, related_name="facts")
    status = models.CharField(max_length=20, blank=True, help_text="Twilio's word: active, …")
    kind = models.CharField(max_length=20, blank=True, help_text="Twilio's word: Full or Trial")
    numbers_listed = models.PositiveIntegerField(null=True, blank=True)
    checked_at = models.DateTimeField(
        null=True, blank=True, help_text="When Twilio last gave its list of numbers"
    )
    tried_at = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=300, blank=True, help_text="Why there was no list")
    peak_calls = models.PositiveIntegerField(
        null=True, blank=True, help_text="Most calls at once in the last 31 days"
    )
    peak_at = models.DateTimeField(null=True, blank=True, help_text="When that was")
    peak_is_least = models.BooleanField(
        default=False, help_text="Twilio's list was cut, so there may have been more"
    )
    peak_checked_at = models.DateTimeField(null=True, blank=True)
    profile = models.CharField(
        max_length=12,
        choices=Profile,
        blank=True,
        help_text="From Twilio's console, Trust Hub. Twilio's API does not tell it",
    )
    calls_per_second = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Outgoing calls per second, from Twilio's console; 1 unless it was raised. Calls "
        "that come in are not limited by it",
    )
    entered_at = models.DateTimeField(null=True, blank=True)
    entered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    job = models.ForeignKey(
        Job, on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )

    class Meta:
        ordering = ("account",)
        verbose_name = "limits of a Twilio account"
        verbose_name_plural = "limits of Twilio accounts"
        constraints = (
            models.CheckConstraint(
                condition=Q(profile__in=("", "none", "individual", "business", "older")),
                name="account_facts_profile_known",
            ),
        )

    def __str__(self) -> str:
        return f"limits of {self.account.name}"


class ModelLimit(OrganisationOwned):
    """What a provider lets one connection use of a model in a minute."""

    class Name(models.TextChoices):
        """The provider's words in ``rate_limits.updated`` (openai_realtime.md 4)."""

        TOKENS = "tokens", "Tokens a minute"
        REQUESTS = "requests", "Responses a minute"

    class Source(models.TextChoices):
        """Who said so."""

        LIVE = "live", "seen in a call"
        ENTERED = "entered", "entered by staff"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.ForeignKey(
        ProviderConnection, on_delete=models.CASCADE, related_name="limits"
    )
    model = models.CharField(max_length=80)
    name = models.CharField(max_length=10, choices=Name)
    limit = models.PositiveBigIntegerField(help_text="Of one minute, as the provider's page says")
    remaining = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="What was left of it when it was last seen"
    )
    source = models.CharField(max_length=8, choices=Source)
    seen_at = models.DateTimeField(help_text="When it was seen or entered")
    entered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    class Meta:
        ordering = ("connection", "model", "name", "source")
        verbose_name = "limit of a model"
        verbose_name_plural = "limits of models"
        constraints = (
            models.UniqueConstraint(
                fields=("connection", "model", "name", "source"), name="model_limit_once"
            ),
            models.CheckConstraint(
                condition=Q(name__in=("tokens", "requests")), name="model_limit_name_known"
            ),
            models.CheckConstraint(
                condition=Q(source__in=("live", "entered")), name="model_limit_source_known"
            ),
        )

    def __str__(self) -> str:
        return f"{self.limit} {self.get_name_display().lower()}, {self.model}"
