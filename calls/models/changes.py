"""What was changed about who answers a number: one row for each change, never changed itself.

Owns the record alone; routes are set by ``calls.services.number_routes``.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from calls.models.numbers import PhoneNumber
from voiceplatform.base.models import OrganisationOwned


class NumberChange(OrganisationOwned):
    """One change of a number's route, whoever made it."""

    class Kind(models.TextChoices):
        """What made the change."""

        ROUTE = "route", "A person, or a program"
        SWITCH = "switch", "A move at Twilio"
        NET = "net", "The safety net"
        PLAN = "plan", "A plan"
        GUARD = "guard", "The guard"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    number = models.ForeignKey(PhoneNumber, on_delete=models.CASCADE, related_name="changes")
    kind = models.CharField(max_length=6, choices=Kind, default=Kind.ROUTE)
    before = models.JSONField(default=dict, help_text="The route as it was")
    after = models.JSONField(default=dict, help_text="The route as it is since then")
    who = models.CharField(max_length=200, help_text="user:name, key:prefix, guard or plan:id")
    why = models.CharField(max_length=500, blank=True)
    evidence = models.JSONField(default=dict, blank=True, help_text="Ids and figures")
    key = models.CharField(
        max_length=120, blank=True, help_text="The same order twice is one change"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at", "-id")
        verbose_name = "change of a route"
        verbose_name_plural = "changes of routes"
        indexes = (
            models.Index(fields=("organisation", "-created_at"), name="number_change_list"),
            models.Index(fields=("number", "-created_at"), name="number_change_by_number"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("number", "key"), condition=~Q(key=""), name="number_change_key_once"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=("route", "switch", "net", "plan", "guard")),
                name="number_change_kind_known",
            ),
        )

    def __str__(self) -> str:
        return f"{self.before.get('words', '')} -> {self.after.get('words', '')}"
