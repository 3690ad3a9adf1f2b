"""Calls of the old stack that are heard along: the switch of each number, and the calls at hand.

State only. Which calls are taken is ``calls.parity.shadow_rules``' to say. What a shadow heard and
did stands in the run's own rows; here is nothing that anybody said.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from calls.models.numbers import PhoneNumber
from calls.models.parity import ParityRun
from calls.models.records import Call
from voiceplatform.base.models import OrganisationOwned


class ShadowSwitch(OrganisationOwned):
    """Whether calls of a number that the old stack answers may be heard along; off by default."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    number = models.OneToOneField(
        PhoneNumber, on_delete=models.CASCADE, related_name="shadow_switch"
    )
    is_on = models.BooleanField(
        "on",
        default=False,
        help_text="While a run collects calls of the number, some of those that the old stack "
        "answers are heard along. Callers notice nothing",
    )
    percent = models.PositiveSmallIntegerField(
        "share of calls (percent)", default=20, help_text="1 to 100, drawn call by call"
    )
    most_at_once = models.PositiveSmallIntegerField(
        "calls at once", default=2, help_text="1 to 20, of this number"
    )
    notice = models.CharField(
        "words of the notice",
        max_length=200,
        blank=True,
        help_text="Where the call policy is one of notice: some words of the old stack's own line "
        "by which callers are told who listens, as they are said. Nothing of a caller goes to the "
        "model before these words were heard on the line",
    )
    confirmed_by = models.CharField(
        max_length=200,
        blank=True,
        help_text="Who confirmed that callers are told of the second company that listens",
    )
    confirmed_at = models.DateTimeField(null=True, blank=True)
    version = models.PositiveIntegerField(default=0, help_text="One more with every change")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("number__number_e164",)
        verbose_name = "hearing along"
        verbose_name_plural = "hearing along"
        constraints = (
            models.CheckConstraint(
                condition=Q(percent__gte=1, percent__lte=100), name="shadow_percent_1_100"
            ),
            models.CheckConstraint(
                condition=Q(most_at_once__gte=1, most_at_once__lte=20), name="shadow_at_once_1_20"
            ),
            models.CheckConstraint(
                condition=Q(is_on=False) | Q(confirmed_at__isnull=False),
                name="shadow_on_is_confirmed",
            ),
        )

    def __str__(self) -> str:
        return f"{self.number} {'on' if self.is_on else 'off'}"


class ShadowCall(OrganisationOwned):
    """One call that is or was heard along for a run."""

    class State(models.TextChoices):
        """Where it is."""

        OFFERED = "offered", "The old stack's answer was given the fork"
        HEARING = "hearing", "Heard along now"
        DONE = "done", "Heard, and a pair of its run"
        NOTHING = "nothing", "Nothing to compare: nobody spoke, or the fork never came"
        FAILED = "failed", "Could not be heard to its end"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    run = models.ForeignKey(ParityRun, on_delete=models.CASCADE, related_name="shadows")
    call = models.OneToOneField(Call, on_delete=models.CASCADE, related_name="shadow")
    position = models.PositiveIntegerField(help_text="In the order in which calls came")
    state = models.CharField(max_length=8, choices=State, default=State.OFFERED)
    token_expires_at = models.DateTimeField(help_text="Until then the fork may open its socket")
    alive_at = models.DateTimeField(help_text="When whoever hears it last said so")
    begun_at = models.DateTimeField(
        null=True, blank=True, help_text="When the fork opened its socket"
    )
    ended_at = models.DateTimeField(null=True, blank=True)
    problem = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("run", "position")
        verbose_name = "call heard along"
        verbose_name_plural = "calls heard along"
        constraints = (
            models.UniqueConstraint(fields=("run", "position"), name="shadow_call_place_once"),
            models.CheckConstraint(
                condition=Q(state__in=("offered", "hearing", "done", "nothing", "failed")),
                name="shadow_call_state_known",
            ),
        )
        indexes = (models.Index(fields=("state", "alive_at"), name="shadow_call_open"),)

    def __str__(self) -> str:
        return f"{self.run_id} {self.position}"
