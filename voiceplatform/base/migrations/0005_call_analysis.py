"""Let an organisation do without the analysis of its calls."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("base", "0004_redacted_tables"),
    ]

    operations = [
        migrations.AddField(
            model_name="organisation",
            name="analyses_calls",
            field=models.BooleanField(
                default=True,
                help_text="Summarise and judge each call after it ends, as its assistant's analysis plan says; costs some tokens of a text model for each call",
                verbose_name="analyse calls",
            ),
        ),
    ]
