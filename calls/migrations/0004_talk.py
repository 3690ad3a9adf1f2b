import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("assistants", "0003_squads_voices_resources"),
        ("base", "0003_unknown_routes"),
        ("calls", "0003_operator_desk"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Talk",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("model", models.CharField(blank=True, max_length=80)),
                (
                    "calls_tools",
                    models.BooleanField(
                        default=False,
                        help_text="Tool servers were really called; else nothing was sent",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("token_expires_at", models.DateTimeField()),
                ("token_used_at", models.DateTimeField(blank=True, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("ended_reason", models.CharField(blank=True, max_length=120)),
                ("duration_seconds", models.PositiveIntegerField(default=0)),
                ("turn_count", models.PositiveIntegerField(default=0)),
                ("tool_count", models.PositiveIntegerField(default=0)),
                ("first_word_ms", models.PositiveIntegerField(blank=True, null=True)),
                ("turn_latency_p50_ms", models.PositiveIntegerField(blank=True, null=True)),
                ("turn_latency_p95_ms", models.PositiveIntegerField(blank=True, null=True)),
                ("cost_usd", models.DecimalField(decimal_places=6, default=0, max_digits=10)),
                (
                    "connection",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="calls.providerconnection",
                    ),
                ),
                (
                    "organisation",
                    models.ForeignKey(
                        default=uuid.UUID("00000000-0000-4000-8000-000000000001"),
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="base.organisation",
                    ),
                ),
                (
                    "revision",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="assistants.assistantrevision",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("-created_at",),
                "permissions": (
                    ("talk_to_assistant", "Can talk to assistants through the browser"),
                ),
                "indexes": [
                    models.Index(fields=["organisation", "-created_at"], name="talk_list"),
                    models.Index(fields=["-created_at"], name="talk_list_all"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("ended_at__isnull", True),
                            models.Q(("ended_reason", ""), _negated=True),
                            _connector="OR",
                        ),
                        name="talk_end_is_explained",
                    )
                ],
            },
        ),
    ]
