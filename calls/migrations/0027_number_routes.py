import uuid

import django.db.models.deletion
from django.db import migrations, models

import voiceplatform.base.fields


class Migration(migrations.Migration):
    dependencies = [
        ("assistants", "0007_file_readings_fill"),
        ("base", "0006_recordings"),
        ("calls", "0026_readiness"),
    ]

    operations = [
        migrations.CreateModel(
            name="OldStack",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "origin",
                    models.CharField(
                        help_text="Scheme, host and port; no path, no token", max_length=300
                    ),
                ),
                (
                    "health",
                    models.JSONField(blank=True, default=dict, help_text="Up, down or probing"),
                ),
                (
                    "version",
                    models.PositiveIntegerField(default=0, help_text="One more with every change"),
                ),
                ("changed_at", models.DateTimeField(auto_now=True)),
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
                "ordering": ("origin",),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organisation", "origin"), name="old_stack_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="CallHandover",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("attempt_ms", models.PositiveIntegerField(help_text="How long it was given")),
                (
                    "instead",
                    models.CharField(help_text="What follows when it gave nothing", max_length=8),
                ),
                ("begun_at", models.DateTimeField(auto_now_add=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "outcome",
                    models.JSONField(
                        blank=True,
                        help_text="What came of each request; empty while it is under way",
                        null=True,
                    ),
                ),
                (
                    "is_taken",
                    models.BooleanField(default=False, help_text="Its answer was given to Twilio"),
                ),
                (
                    "both_reached",
                    models.BooleanField(
                        default=False,
                        help_text="It may have taken the call although somebody else answered",
                    ),
                ),
                (
                    "answer",
                    voiceplatform.base.fields.EncryptedJSONField(
                        blank=True,
                        help_text="Its answer, for a repeat of the webhook; not kept after",
                        null=True,
                    ),
                ),
                (
                    "cookies",
                    voiceplatform.base.fields.EncryptedJSONField(
                        blank=True, help_text="For later requests of the call", null=True
                    ),
                ),
                (
                    "status_url",
                    voiceplatform.base.fields.EncryptedTextField(
                        blank=True,
                        default="",
                        help_text="Whom it wants told when the call is over; empty: nobody",
                    ),
                ),
                ("status_method", models.CharField(default="POST", max_length=4)),
                (
                    "status_asked",
                    voiceplatform.base.fields.EncryptedJSONField(
                        blank=True,
                        help_text="Twilio's message of the end, until it is passed on",
                        null=True,
                    ),
                ),
                (
                    "status_due_at",
                    models.DateTimeField(
                        blank=True, help_text="When it is passed on, or tried again", null=True
                    ),
                ),
                ("status_attempts", models.PositiveSmallIntegerField(default=0)),
                (
                    "status_outcome",
                    models.JSONField(blank=True, help_text="What came of that", null=True),
                ),
                (
                    "call",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="handover",
                        to="calls.call",
                    ),
                ),
                (
                    "old_stack",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="handovers",
                        to="calls.oldstack",
                    ),
                ),
            ],
            options={
                "ordering": ("-begun_at",),
                "indexes": [
                    models.Index(
                        condition=models.Q(("status_due_at__isnull", False)),
                        fields=["status_due_at"],
                        name="handover_status_due",
                    ),
                    models.Index(
                        condition=models.Q(("answer__isnull", False)),
                        fields=["begun_at"],
                        name="handover_answer_kept",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="NumberChange",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("route", "A person, or a program"),
                            ("switch", "A move at Twilio"),
                            ("net", "The safety net"),
                            ("plan", "A plan"),
                            ("guard", "The guard"),
                        ],
                        default="route",
                        max_length=6,
                    ),
                ),
                ("before", models.JSONField(default=dict, help_text="The route as it was")),
                (
                    "after",
                    models.JSONField(default=dict, help_text="The route as it is since then"),
                ),
                (
                    "who",
                    models.CharField(
                        help_text="user:name, key:prefix, guard or plan:id", max_length=200
                    ),
                ),
                ("why", models.CharField(blank=True, max_length=500)),
                (
                    "evidence",
                    models.JSONField(blank=True, default=dict, help_text="Ids and figures"),
                ),
                (
                    "key",
                    models.CharField(
                        blank=True, help_text="The same order twice is one change", max_length=120
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "number",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="changes",
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
                "verbose_name": "change of a route",
                "verbose_name_plural": "changes of routes",
                "ordering": ("-created_at", "-id"),
                "indexes": [
                    models.Index(fields=["organisation", "-created_at"], name="number_change_list"),
                    models.Index(fields=["number", "-created_at"], name="number_change_by_number"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("key", ""), _negated=True),
                        fields=("number", "key"),
                        name="number_change_key_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("kind__in", ("route", "switch", "net", "plan", "guard"))
                        ),
                        name="number_change_kind_known",
                    ),
                ],
            },
        ),
        migrations.AddField(
            model_name="call",
            name="route_code",
            field=models.CharField(
                blank=True, help_text="The row of the route table that decided", max_length=20
            ),
        ),
        migrations.AddIndex(
            model_name="call",
            index=models.Index(
                condition=models.Q(("ended_at__isnull", False)),
                fields=["ended_at"],
                name="call_ended",
            ),
        ),
        migrations.AddIndex(
            model_name="call",
            index=models.Index(
                condition=models.Q(("ended_at__isnull", False)),
                fields=["number", "stack", "-ended_at"],
                name="call_by_end",
            ),
        ),
        migrations.AddField(
            model_name="phonenumber",
            name="canary_sticky",
            field=models.CharField(
                choices=[
                    ("caller", "For good, by the caller's number"),
                    ("hour", "For an hour, by the caller's number"),
                    ("call", "For one call"),
                ],
                default="caller",
                help_text="How long a caller stays on the stack that the canary drew for them",
                max_length=6,
            ),
        ),
        migrations.AddField(
            model_name="phonenumber",
            name="patience_ms",
            field=models.PositiveIntegerField(
                default=4000,
                help_text="How long the old stack may take to answer a call that is handed over to it (milliseconds). 4000 is usual and the most: Twilio leaves a site that hangs within 6 s",
            ),
        ),
        migrations.AddField(
            model_name="phonenumber",
            name="previous_asks",
            field=models.BooleanField(
                default=False,
                help_text="The number has no assistant at Vapi, which asks a server for each call: it is waited for 9 seconds at least",
            ),
        ),
        migrations.AddField(
            model_name="phonenumber",
            name="previous_target",
            field=voiceplatform.base.fields.EncryptedJSONField(
                blank=True, help_text="Where calls went before, as Twilio had it", null=True
            ),
        ),
        migrations.AddField(
            model_name="phonenumber",
            name="qualified_at",
            field=models.DateTimeField(
                blank=True,
                help_text="Since when the assistant may answer in the old stack's place when that is down",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="phonenumber",
            name="qualified_by",
            field=models.CharField(blank=True, help_text="Who said so", max_length=200),
        ),
        migrations.AddField(
            model_name="phonenumber",
            name="schedule",
            field=models.JSONField(
                blank=True,
                help_text="Windows of local time in which the route holds, and the route outside them. Empty: it always holds",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="phonenumber",
            name="version",
            field=models.PositiveIntegerField(
                default=0, help_text="One more with every change of the route"
            ),
        ),
        migrations.AddField(
            model_name="phonenumber",
            name="voice_region",
            field=models.CharField(
                blank=True,
                help_text="Twilio's region that handles its calls, e.g. us1",
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="phonenumber",
            constraint=models.CheckConstraint(
                condition=models.Q(("canary_sticky__in", ("caller", "hour", "call"))),
                name="number_sticky_known",
            ),
        ),
    ]
