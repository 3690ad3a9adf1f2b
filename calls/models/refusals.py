"""Requests at Twilio's addresses that were refused because nothing proved that Twilio sent them.

The page "why did this call fail" and ``doctor`` read them: a refused voice webhook leaves no call
behind. Never a body, a parameter's value, a token or a signature; few rows, the newest ones.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from calls.models.connections import TwilioAccount
from calls.models.records import Call
from voiceplatform.base.models import OrganisationOwned

CAUSES = ("other-url", "wrong", "unsigned", "unknown-account")


class RefusedRequest(OrganisationOwned):
    """All requests of one account, address and cause within one minute.

    Of an account that is not known the organisation is the default one, whose staff run the place.
    """

    class Cause(models.TextChoices):
        """What the signature says."""

        OTHER_URL = "other-url", "Signed for another address"
        WRONG = "wrong", "Signature does not fit"
        UNSIGNED = "unsigned", "Not signed at all"
        UNKNOWN_ACCOUNT = "unknown-account", "Account not known"

    account = models.ForeignKey(
        TwilioAccount, on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    account_sid = models.CharField(
        max_length=34, blank=True, help_text="As the request says; empty: it named none"
    )
    call = models.ForeignKey(
        Call, on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    cause = models.CharField(max_length=16, choices=Cause)
    url = models.CharField(max_length=300, help_text="The address over which we hashed")
    signed_url = models.CharField(
        max_length=300, blank=True, help_text="The address that Twilio signed, where we found it"
    )
    minute = models.DateTimeField()
    count = models.PositiveIntegerField(default=0)
    last_at = models.DateTimeField()

    class Meta:
        ordering = ("-last_at",)
        verbose_name = "refused request"
        indexes = (
            models.Index(fields=("organisation", "-last_at"), name="refusal_list"),
            models.Index(fields=("account", "-last_at"), name="refusal_by_account"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("account_sid", "url", "cause", "minute"), name="refusal_once_a_minute"
            ),
            models.CheckConstraint(condition=Q(cause__in=CAUSES), name="refusal_cause_known"),
        )

    def __str__(self) -> str:
        return f"{self.get_cause_display()}: {self.url}"
