"""What a comparison with the carrier's list of calls found."""

from __future__ import annotations

from django.db import models

from calls.models.connections import TwilioAccount
from calls.models.numbers import PhoneNumber
from voiceplatform.base.models import OrganisationOwned


class CarrierCheck(OrganisationOwned):
    """The newest comparison of one account's calls with Twilio's list of them."""

    account = models.OneToOneField(TwilioAccount, on_delete=models.CASCADE, related_name="check_of")
    checked_at = models.DateTimeField(
        null=True, blank=True, help_text="When Twilio last gave its list"
    )
    tried_at = models.DateTimeField()
    error = models.CharField(max_length=200, blank=True, help_text="Why there was no list")
    listed = models.PositiveIntegerField(default=0, help_text="Calls of the last day at Twilio")
    closed = models.PositiveIntegerField(
        default=0, help_text="Calls closed here so far because Twilio said that they were over"
    )
    missed = models.PositiveIntegerField(
        default=0, help_text="Calls so far that never reached this platform"
    )

    class Meta:
        ordering = ("account",)
        verbose_name = "comparison with Twilio"
        verbose_name_plural = "comparisons with Twilio"

    def __str__(self) -> str:
        return f"{self.account.name}"


class MissedCall(OrganisationOwned):
    """A call that Twilio had for a number of ours on route ``direct``, and we never saw."""

    account = models.ForeignKey(TwilioAccount, on_delete=models.CASCADE, related_name="+")
    number = models.ForeignKey(PhoneNumber, on_delete=models.CASCADE, related_name="+")
    call_sid = models.CharField(max_length=34, unique=True)
    caller = models.CharField(max_length=80, blank=True)
    called_at = models.DateTimeField()
    duration_seconds = models.PositiveIntegerField(default=0)
    carrier_status = models.CharField(max_length=20, help_text="Twilio's word for how it ended")
    noticed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-called_at",)
        indexes = (models.Index(fields=("organisation", "-called_at"), name="missed_call_list"),)

    def __str__(self) -> str:
        return f"{self.number_id} {self.called_at:%Y-%m-%d %H:%M:%S}"
