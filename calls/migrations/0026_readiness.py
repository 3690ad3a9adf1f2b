import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("assistants", "0007_file_readings_fill"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("base", "0006_recordings"),
        ("calls", "0025_recordings"),
    ]

    operations = [
        migrations.CreateModel(
            name="AccountFacts",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        blank=True, help_text="Twilio's word: active, …", max_length=20
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        blank=True, help_text="Twilio's word: Full or Trial", max_length=20
                    ),
                ),
                ("numbers_listed", models.PositiveIntegerField(blank=True, null=True)),
                (
                    "checked_at",
                    models.DateTimeField(
                        blank=True, help_text="When Twilio last gave its list of numbers", null=True
                    ),
                ),
                ("tried_at", models.DateTimeField(blank=True, null=True)),
                (
                    "error",
                    models.CharField(blank=True, help_text="Why there was no list", max_length=300),
                ),
                (
                    "peak_calls",
                    models.PositiveIntegerField(
                        blank=True, help_text="Most calls at once in the last 31 days", null=True
                    ),
                ),
                ("peak_at", models.DateTimeField(blank=True, help_text="When that was", null=True)),
                (
                    "peak_is_least",
                    models.BooleanField(
                        default=False,
                        help_text="Twilio's list was cut, so there may have been more",
                    ),
                ),
                ("peak_checked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "profile",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "Not known"),
                            ("none", "No approved profile (2 calls at once)"),
                            ("individual", "Individual (3 calls at once)"),
                            ("business", "Business (no limit)"),
                            ("older", "Upgraded before 3 February 2026 (no limit)"),
                        ],
                        help_text="From Twilio's console, Trust Hub. Twilio's API does not tell it",
                        max_length=12,
                    ),
                ),
                (
                    "calls_per_second",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Outgoing calls per second, from Twilio's console; 1 unless it was raised. Calls that come in are not limited by it",
                        null=True,
                    ),
                ),
                ("entered_at", models.DateTimeField(blank=True, null=True)),
                (
                    "account",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="facts",
                        to="calls.twilioaccount",
                    ),
                ),
                (
                    "entered_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "job",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="base.job",
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
            ],
            options={
                "verbose_name": "limits of a Twilio account",
                "verbose_name_plural": "limits of Twilio accounts",
                "ordering": ("account",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("profile__in", ("", "none", "individual", "business", "older"))
                        ),
                        name="account_facts_profile_known",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ModelLimit",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("model", models.CharField(max_length=80)),
                (
                    "name",
                    models.CharField(
                        choices=[("tokens", "Tokens a minute"), ("requests", "Responses a minute")],
                        max_length=10,
                    ),
                ),
                (
                    "limit",
                    models.PositiveBigIntegerField(
                        help_text="Of one minute, as the provider's page says"
                    ),
                ),
                (
                    "remaining",
                    models.PositiveBigIntegerField(
                        blank=True, help_text="What was left of it when it was last seen", null=True
                    ),
                ),
                (
                    "source",
                    models.CharField(
                        choices=[("live", "seen in a call"), ("entered", "entered by staff")],
                        max_length=8,
                    ),
                ),
                ("seen_at", models.DateTimeField(help_text="When it was seen or entered")),
                (
                    "connection",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="limits",
                        to="calls.providerconnection",
                    ),
                ),
                (
                    "entered_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
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
            ],
            options={
                "verbose_name": "limit of a model",
                "verbose_name_plural": "limits of models",
                "ordering": ("connection", "model", "name", "source"),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("connection", "model", "name", "source"), name="model_limit_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("name__in", ("tokens", "requests"))),
                        name="model_limit_name_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("source__in", ("live", "entered"))),
                        name="model_limit_source_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="NumberReadiness",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "number_e164",
                    models.CharField(
                        help_text="As it is dialled", max_length=40, verbose_name="number"
                    ),
                ),
                (
                    "companion_id",
                    models.UUIDField(
                        blank=True,
                        editable=False,
                        help_text="What an import said about it",
                        null=True,
                    ),
                ),
                (
                    "twilio_sid",
                    models.CharField(blank=True, help_text="Twilio's id, PN…", max_length=34),
                ),
                (
                    "colour",
                    models.CharField(
                        choices=[
                            ("red", "Blocked"),
                            ("amber", "To be looked at"),
                            ("green", "Ready"),
                            ("grey", "Not known"),
                        ],
                        max_length=5,
                    ),
                ),
                (
                    "reason",
                    models.CharField(
                        help_text="The finding that decides the colour", max_length=120
                    ),
                ),
                (
                    "next_step",
                    models.CharField(blank=True, help_text="What to do about it", max_length=160),
                ),
                (
                    "next_link",
                    models.CharField(
                        blank=True,
                        editable=False,
                        help_text="Which page the step is done on",
                        max_length=20,
                    ),
                ),
                ("next_target", models.CharField(blank=True, editable=False, max_length=36)),
                (
                    "findings",
                    models.JSONField(
                        blank=True, default=list, help_text="All findings, worst first"
                    ),
                ),
                (
                    "facts",
                    models.JSONField(
                        blank=True, default=list, help_text="Each with its source and date"
                    ),
                ),
                ("checked_at", models.DateTimeField(help_text="When this was last put together")),
                (
                    "account",
                    models.ForeignKey(
                        blank=True,
                        help_text="The Twilio account that has it",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="calls.twilioaccount",
                    ),
                ),
                (
                    "job",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="base.job",
                    ),
                ),
                (
                    "number",
                    models.OneToOneField(
                        blank=True,
                        help_text="Empty: it is at Twilio or in an import, and cannot answer here yet",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="readiness",
                        to="calls.phonenumber",
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
            ],
            options={
                "verbose_name": "readiness of a number",
                "verbose_name_plural": "readiness",
                "ordering": ("number_e164",),
                "permissions": (("check_readiness", "Can check which numbers are ready"),),
                "indexes": [
                    models.Index(fields=["organisation", "colour"], name="readiness_by_colour")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organisation", "number_e164"), name="readiness_number_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("colour__in", ("red", "amber", "green", "grey"))),
                        name="readiness_colour_known",
                    ),
                ],
            },
        ),
    ]
