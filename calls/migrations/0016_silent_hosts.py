import uuid

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("base", "0004_redacted_tables"),
        ("calls", "0015_tool_call_owner_fill"),
    ]

    operations = [
        migrations.CreateModel(
            name="SilentHost",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("host", models.CharField(help_text="Scheme, host and port", max_length=300)),
                ("process", models.CharField(help_text="Which process has met it", max_length=100)),
                ("failures", models.PositiveIntegerField(default=0)),
                ("since", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
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
                "verbose_name": "tool server that gives no answer",
                "verbose_name_plural": "tool servers that give no answer",
                "ordering": ("-last_at", "id"),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organisation", "host", "process"), name="silent_host_once"
                    )
                ],
            },
        ),
    ]
