import uuid

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("assistants", "0004_imported_objects"),
        ("base", "0004_redacted_tables"),
    ]

    operations = [
        migrations.CreateModel(
            name="FileReading",
            fields=[
                (
                    "file",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="reading",
                        serialize=False,
                        to="assistants.storedresource",
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("processing", "being read"),
                            ("done", "can be searched"),
                            ("failed", "cannot be read"),
                        ],
                        default="processing",
                        max_length=10,
                    ),
                ),
                (
                    "problem",
                    models.CharField(blank=True, help_text="Why, and what to do", max_length=500),
                ),
                ("passage_count", models.PositiveIntegerField(default=0)),
                ("character_count", models.PositiveIntegerField(default=0)),
                (
                    "page_count",
                    models.PositiveIntegerField(default=0, help_text="0: a kind without pages"),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                (
                    "lease_until",
                    models.DateTimeField(blank=True, help_text="A worker has it until", null=True),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "organisation",
                    models.ForeignKey(
                        default=uuid.UUID("00000000-0000-4000-8000-000000000001"),
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="base.organisation",
                    ),
                ),
            ],
            options={
                "verbose_name": "file",
                "ordering": ("-created_at", "file"),
                "indexes": [
                    models.Index(fields=["organisation", "-created_at"], name="file_reading_list"),
                    models.Index(
                        condition=models.Q(("state", "processing")),
                        fields=["created_at"],
                        name="file_reading_queue",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ("processing", "done", "failed"))),
                        name="file_reading_state_known",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="FilePassage",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("ordinal", models.PositiveIntegerField()),
                ("page", models.PositiveIntegerField(default=0)),
                ("heading", models.CharField(blank=True, max_length=200)),
                ("text", models.TextField()),
                (
                    "words",
                    models.TextField(help_text="What is searched: folded words, one space between"),
                ),
                (
                    "file",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="passages",
                        to="assistants.filereading",
                    ),
                ),
            ],
            options={
                "ordering": ("file", "ordinal"),
                "constraints": [
                    models.UniqueConstraint(fields=("file", "ordinal"), name="file_passage_once")
                ],
            },
        ),
    ]
