"""What was read of uploaded files: how far it is, and the passages that are searched.

The bytes stay with ``StoredResource``. Beside ``FilePassage`` each database keeps an index of its
own (migration ``passage_index``), which nothing but ``assistants.knowledge.index`` asks.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from assistants.models.resources import StoredResource
from voiceplatform.base.models import OrganisationOwned


class FileReading(OrganisationOwned):
    """How an uploaded file was read; rows that are ``processing`` are the queue of the reader."""

    class State(models.TextChoices):
        """Vapi's own words (vapi.md 8.3)."""

        PROCESSING = "processing", "being read"
        DONE = "done", "can be searched"
        FAILED = "failed", "cannot be read"

    file = models.OneToOneField(
        StoredResource, on_delete=models.CASCADE, primary_key=True, related_name="reading"
    )
    state = models.CharField(max_length=10, choices=State, default=State.PROCESSING)
    problem = models.CharField(max_length=500, blank=True, help_text="Why, and what to do")
    passage_count = models.PositiveIntegerField(default=0)
    character_count = models.PositiveIntegerField(default=0)
    page_count = models.PositiveIntegerField(default=0, help_text="0: a kind without pages")
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True, help_text="A worker has it until")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at", "file")
        verbose_name = "file"
        indexes = (
            models.Index(fields=("organisation", "-created_at"), name="file_reading_list"),
            models.Index(
                fields=("created_at",),
                name="file_reading_queue",
                condition=Q(state="processing"),
            ),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(state__in=("processing", "done", "failed")),
                name="file_reading_state_known",
            ),
        )

    def __str__(self) -> str:
        return self.file.name or str(self.file_id)


class FilePassage(models.Model):
    """A piece of a file that is found and shown as one."""

    file = models.ForeignKey(FileReading, on_delete=models.CASCADE, related_name="passages")
    ordinal = models.PositiveIntegerField()
    page = models.PositiveIntegerField(default=0)
    heading = models.CharField(max_length=200, blank=True)
    text = models.TextField()
    words = models.TextField(help_text="What is searched: folded words, one space between")

    class Meta:
        ordering = ("file", "ordinal")
        constraints = (
            models.UniqueConstraint(fields=("file", "ordinal"), name="file_passage_once"),
        )

    def __str__(self) -> str:
        return f"passage {self.ordinal}"
