import uuid

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import voiceplatform.base.fields

OWNER = uuid.UUID("00000000-0000-4000-8000-000000000001")


def owner():
    return models.ForeignKey(
        default=OWNER,
        on_delete=django.db.models.deletion.PROTECT,
        related_name="+",
        to="base.organisation",
    )


def number_id():
    return models.BigAutoField(
        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
    )


class Migration(migrations.Migration):
    dependencies = [
        ("assistants", "0004_imported_objects"),
        ("base", "0004_redacted_tables"),
        ("calls", "0010_call_controls"),
    ]

    operations = [
        migrations.CreateModel(
            name="EventDestination",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                (
                    "url",
                    voiceplatform.base.fields.EncryptedTextField(
                        help_text="https://…; what stands in it is kept secret"
                    ),
                ),
                ("url_host", models.CharField(blank=True, max_length=255)),
                (
                    "kinds",
                    models.JSONField(default=list, help_text='Which events, e.g. ["call.ended"]'),
                ),
                (
                    "headers",
                    voiceplatform.base.fields.EncryptedJSONField(
                        blank=True, help_text="Sent with every event", null=True
                    ),
                ),
                (
                    "timeout_seconds",
                    models.PositiveSmallIntegerField(
                        default=20, help_text="How long to wait for an answer, 1 to 30"
                    ),
                ),
                (
                    "secret",
                    voiceplatform.base.fields.EncryptedTextField(
                        blank=True, default="", help_text="whsec_…"
                    ),
                ),
                (
                    "earlier_secret",
                    voiceplatform.base.fields.EncryptedTextField(blank=True, default=""),
                ),
                (
                    "earlier_secret_until",
                    models.DateTimeField(
                        blank=True,
                        help_text="Until then the secret before this one signs too",
                        null=True,
                    ),
                ),
                (
                    "plain_secret",
                    voiceplatform.base.fields.EncryptedTextField(
                        blank=True,
                        default="",
                        help_text="Signs X-Voiceplatform-Signature, as an organisation's call "
                        "log URL did",
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                (
                    "active_since",
                    models.DateTimeField(
                        default=django.utils.timezone.now,
                        help_text="Calls that ended before are not told of",
                    ),
                ),
                (
                    "switched_off_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="Since the receiver said that it is gone",
                        null=True,
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "assistants",
                    models.ManyToManyField(
                        blank=True,
                        help_text="None chosen: calls of all of them",
                        related_name="+",
                        to="assistants.assistant",
                    ),
                ),
                (
                    "numbers",
                    models.ManyToManyField(
                        blank=True,
                        help_text="None chosen: calls to all of them",
                        related_name="+",
                        to="calls.phonenumber",
                    ),
                ),
                ("organisation", owner()),
            ],
            options={
                "verbose_name": "event destination",
                "ordering": ("name", "id"),
                "indexes": [
                    models.Index(fields=["organisation", "enabled"], name="destination_live")
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("timeout_seconds__gte", 1), ("timeout_seconds__lte", 30)
                        ),
                        name="destination_timeout_1_30",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="CarrierCheck",
            fields=[
                ("id", number_id()),
                (
                    "checked_at",
                    models.DateTimeField(
                        blank=True, help_text="When Twilio last gave its list", null=True
                    ),
                ),
                ("tried_at", models.DateTimeField()),
                (
                    "error",
                    models.CharField(blank=True, help_text="Why there was no list", max_length=200),
                ),
                (
                    "listed",
                    models.PositiveIntegerField(
                        default=0, help_text="Calls of the last day at Twilio"
                    ),
                ),
                (
                    "closed",
                    models.PositiveIntegerField(
                        default=0,
                        help_text="Calls closed here so far because Twilio said that they were "
                        "over",
                    ),
                ),
                (
                    "missed",
                    models.PositiveIntegerField(
                        default=0, help_text="Calls so far that never reached this platform"
                    ),
                ),
                (
                    "account",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="check_of",
                        to="calls.twilioaccount",
                    ),
                ),
                ("organisation", owner()),
            ],
            options={
                "verbose_name": "comparison with Twilio",
                "verbose_name_plural": "comparisons with Twilio",
                "ordering": ("account",),
            },
        ),
        migrations.CreateModel(
            name="MissedCall",
            fields=[
                ("id", number_id()),
                ("call_sid", models.CharField(max_length=34, unique=True)),
                ("caller", models.CharField(blank=True, max_length=80)),
                ("called_at", models.DateTimeField()),
                ("duration_seconds", models.PositiveIntegerField(default=0)),
                (
                    "carrier_status",
                    models.CharField(help_text="Twilio's word for how it ended", max_length=20),
                ),
                ("noticed_at", models.DateTimeField(auto_now_add=True)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="calls.twilioaccount",
                    ),
                ),
                (
                    "number",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="calls.phonenumber",
                    ),
                ),
                ("organisation", owner()),
            ],
            options={
                "ordering": ("-called_at",),
                "indexes": [
                    models.Index(fields=["organisation", "-called_at"], name="missed_call_list")
                ],
            },
        ),
        migrations.AddField(
            model_name="call",
            name="alive_at",
            field=models.DateTimeField(
                blank=True,
                help_text="When a media process, or Twilio, last said that it is on",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="outboxevent",
            name="receiver",
            field=models.ForeignKey(
                blank=True,
                help_text="Whose address and secrets are looked up when it is sent",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="events",
                to="calls.eventdestination",
            ),
        ),
        migrations.AddField(
            model_name="outboxevent",
            name="endpoint",
            field=models.CharField(
                blank=True,
                help_text="What one receiver's events have in common",
                max_length=40,
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="outboxevent",
            name="sequence",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Counts a call's events at one endpoint, from 1",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="outboxevent",
            name="failing_since",
            field=models.DateTimeField(
                blank=True, help_text="The first failure of this series of attempts", null=True
            ),
        ),
        migrations.AlterField(
            model_name="outboxevent",
            name="destination",
            field=voiceplatform.base.fields.EncryptedJSONField(
                help_text="url, headers, secret, timeout_seconds; empty where there is a receiver"
            ),
        ),
        migrations.AddIndex(
            model_name="outboxevent",
            index=models.Index(
                condition=models.Q(("state", "pending")),
                fields=["call", "endpoint", "sequence"],
                name="outbox_order",
            ),
        ),
    ]
