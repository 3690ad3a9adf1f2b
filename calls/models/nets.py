"""The safety net of a number: who answers when nobody here does, and when that last happened.

``NumberNet`` is what is known of one number's net; ``NetFiring`` is one caller, or one drill, that
the net caught or failed to catch. What is asked of Twilio and when is ``calls.services.nets``.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from calls.models.numbers import PhoneNumber
from voiceplatform.base.fields import EncryptedTextField
from voiceplatform.base.models import OrganisationOwned


class NumberNet(OrganisationOwned):
    """What is set up for one number, what the last look at Twilio found, and a drill under way."""

    class Method(models.TextChoices):
        """How the address is asked."""

        POST = "POST"
        GET = "GET"

    class Probe(models.TextChoices):
        """What the last look found."""

        UNKNOWN = "unknown", "not looked at"
        NOT_MOVED = "not_moved", "not moved"
        ARMED = "armed", "armed"
        MENDED = "mended", "mended"
        ALARM = "alarm", "alarm"

    class Address(models.TextChoices):
        """Whether who is asked in our place answered when it was last looked at."""

        UNKNOWN = "unknown", "not looked at"
        ANSWERS = "answers", "answers"
        FAILS = "fails", "does not answer"

    number = models.OneToOneField(PhoneNumber, on_delete=models.CASCADE, related_name="net")
    address = EncryptedTextField(
        "address that dials a person",
        blank=True,
        default="",
        help_text="An https address of yours, on other machines than these, that answers TwiML "
        "which dials a person (a TwiML Bin, for example). Empty: what answered before the move",
    )
    method = models.CharField(
        max_length=4, choices=Method, default=Method.POST, help_text="How the address is asked"
    )
    is_test = models.BooleanField(
        "test number",
        default=False,
        help_text="Nobody's customers call it: the net may be fired on purpose",
    )
    previous_closed_at = models.DateTimeField(
        null=True, blank=True, help_text="Since when what answered before the move is closed"
    )

    probe_state = models.CharField(max_length=10, choices=Probe, default=Probe.UNKNOWN)
    probe_words = models.CharField(max_length=500, blank=True)
    probed_at = models.DateTimeField(null=True, blank=True, help_text="The last look at Twilio")
    probe_changed_at = models.DateTimeField(
        null=True, blank=True, help_text="Since when the looks have found this state"
    )
    dead_ms = models.PositiveIntegerField(
        null=True, help_text="After how long Twilio asks the net when nothing takes its connection"
    )
    hanging_ms = models.PositiveIntegerField(
        null=True, help_text="After how long it asks the net when we take it and say nothing"
    )
    has_fallback = models.BooleanField(
        null=True, help_text="Whether the number had a fallback at Twilio at the last look"
    )
    repaired_at = models.DateTimeField(null=True, blank=True)
    address_state = models.CharField(max_length=10, choices=Address, default=Address.UNKNOWN)
    address_words = models.CharField(max_length=500, blank=True)
    address_at = models.DateTimeField(null=True, blank=True)
    look_at = models.DateTimeField(
        null=True, blank=True, help_text="When Twilio is asked again; empty: soon"
    )
    rearm_wanted = models.BooleanField(
        default=False, help_text="The address has changed and is not written to Twilio yet"
    )
    lease_token = models.CharField(max_length=32, blank=True, default="")
    lease_until = models.DateTimeField(null=True, blank=True)

    # A drill: one call of ours is not answered. Everything ends by the clock, whoever dies.
    drill_token = models.CharField(max_length=32, blank=True, default="")
    drill_caller = models.CharField(
        max_length=16, blank=True, default="", help_text="The number of ours that calls"
    )
    drill_until = models.DateTimeField(null=True, blank=True)
    drill_call_sid = models.CharField(max_length=34, blank=True, default="")
    drill_failed_at = models.DateTimeField(
        null=True, blank=True, help_text="When we did not answer the drill's call"
    )

    class Meta:
        ordering = ("number__number_e164",)
        verbose_name = "net"
        indexes = (
            models.Index(fields=("organisation", "probe_state"), name="net_by_state"),
            models.Index(fields=("look_at",), name="net_look_due"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(probe_state__in=("unknown", "not_moved", "armed", "mended", "alarm")),
                name="net_probe_known",
            ),
            models.CheckConstraint(
                condition=Q(method__in=("POST", "GET")), name="net_method_known"
            ),
            models.CheckConstraint(
                condition=Q(address_state__in=("unknown", "answers", "fails")),
                name="net_address_known",
            ),
        )

    def __str__(self) -> str:
        return f"net of {self.number}"


class NetFiring(OrganisationOwned):
    """One time that a part of a number's net was needed; drills apart from what really happened."""

    class Part(models.TextChoices):
        """The parts that the page shows."""

        RINGING = "a", "our site dead while it rings"
        IN_CALL = "b", "our site dead during a call"
        PREVIOUS = "c", "the previous stack dead"
        CLOSED = "d", "our site dead, the previous stack closed"

    class Kind(models.TextChoices):
        """Whether a caller was hurt."""

        REAL = "real"
        DRILL = "drill"

    class Outcome(models.TextChoices):
        """What became of the caller."""

        HELD = "held", "somebody answered"
        FAILED = "failed", "nobody answered"
        UNKNOWN = "unknown", "not known"

    number = models.ForeignKey(PhoneNumber, on_delete=models.CASCADE, related_name="net_firings")
    part = models.CharField(max_length=1, choices=Part)
    kind = models.CharField(max_length=5, choices=Kind, default=Kind.REAL)
    outcome = models.CharField(max_length=7, choices=Outcome, default=Outcome.UNKNOWN)
    fired_at = models.DateTimeField()
    seconds = models.FloatField(
        null=True, blank=True, help_text="Until somebody else had the caller, where it was measured"
    )
    words = models.CharField(max_length=300, blank=True)
    call_sid = models.CharField(max_length=34, blank=True, default="")
    noticed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-fired_at",)
        verbose_name = "firing of a net"
        verbose_name_plural = "firings of nets"
        indexes = (
            models.Index(fields=("organisation", "-fired_at"), name="net_firing_list"),
            models.Index(fields=("number", "part", "kind", "-fired_at"), name="net_firing_last"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(part__in=("a", "b", "c", "d")), name="net_firing_part_known"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=("real", "drill")), name="net_firing_kind_known"
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=("held", "failed", "unknown")),
                name="net_firing_outcome_known",
            ),
            models.UniqueConstraint(
                fields=("number", "part", "kind", "call_sid"),
                condition=~Q(call_sid=""),
                name="net_firing_once_a_call",
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_part_display()}, {self.kind}, {self.fired_at:%Y-%m-%d %H:%M:%S}"
