"""Remember how far stored copies without secrets follow the newest rules."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("base", "0003_unknown_routes"),
    ]

    operations = [
        migrations.CreateModel(
            name="RedactedTable",
            fields=[
                (
                    "label",
                    models.CharField(
                        help_text="E.g. assistants.squad",
                        max_length=60,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "version",
                    models.PositiveSmallIntegerField(help_text="Of the rules, base.redaction"),
                ),
                (
                    "last_key",
                    models.CharField(blank=True, help_text="Of the last row done", max_length=40),
                ),
                ("is_complete", models.BooleanField(default=False)),
            ],
            options={
                "ordering": ("label",),
            },
        ),
    ]
