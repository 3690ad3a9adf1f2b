import uuid

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

import voiceplatform.base.fields


class Migration(migrations.Migration):
    dependencies = [
        ("assistants", "0007_file_readings_fill"),
        ("base", "0006_recordings"),
        ("calls", "0029_guards_and_notices"),
    ]

    operations = [
        migrations.CreateModel(
            name="MigrationPlan",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                (
                    "definition",
                    models.JSONField(help_text="Numbers, days, steps and gates, with a version"),
                ),
                ("state", models.JSONField(help_text="Where each number is, with a version")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("draft", "Draft"),
                            ("running", "Running"),
                            ("paused", "Paused"),
                            ("finished", "Finished"),
                        ],
                        default="draft",
                        max_length=8,
                    ),
                ),
                (
                    "version",
                    models.PositiveIntegerField(
                        default=1,
                        help_text="One more with every change; who changes it names the one seen",
                    ),
                ),
                (
                    "problem",
                    models.CharField(
                        blank=True,
                        help_text="Why the plan could not be read at its last look",
                        max_length=300,
                    ),
                ),
                ("created_by", models.CharField(blank=True, max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "looked_at",
                    models.DateTimeField(
                        blank=True, help_text="When the clock last looked at it", null=True
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
                "ordering": ("-created_at",),
                "permissions": (("approve_plan_step", "Can approve steps of plans"),),
                "indexes": [
                    models.Index(fields=["organisation", "-created_at"], name="plan_list"),
                    models.Index(
                        condition=models.Q(("status", "running")),
                        fields=["id"],
                        name="plan_running",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status__in", ("draft", "running", "paused", "finished"))
                        ),
                        name="plan_status_known",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PlanNumber",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "position",
                    models.PositiveSmallIntegerField(help_text="In the order of the plan, from 1"),
                ),
                ("phase", models.CharField(default="waiting", max_length=8)),
                (
                    "percent",
                    models.PositiveSmallIntegerField(
                        default=0, help_text="Share of its calls that the plan has given us"
                    ),
                ),
                (
                    "holds",
                    models.BooleanField(
                        default=False, help_text="No other plan may move the number now"
                    ),
                ),
                (
                    "number",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="plan_places",
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
                (
                    "plan",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="places",
                        to="calls.migrationplan",
                    ),
                ),
            ],
            options={
                "verbose_name": "number in a plan",
                "verbose_name_plural": "numbers in plans",
                "ordering": ("plan", "position"),
                "constraints": [
                    models.UniqueConstraint(fields=("plan", "number"), name="plan_number_once"),
                    models.UniqueConstraint(
                        condition=models.Q(("holds", True)),
                        fields=("number",),
                        name="plan_number_held_once",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PlanEntry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField()),
                (
                    "kind",
                    models.CharField(help_text="e.g. step ordered, number held", max_length=40),
                ),
                ("words", models.CharField(blank=True, help_text="What happened", max_length=500)),
                (
                    "who",
                    models.CharField(
                        help_text="user:name, or plan:id for the plan itself", max_length=200
                    ),
                ),
                ("why", models.TextField(blank=True)),
                ("evidence", models.JSONField(blank=True, default=dict)),
                (
                    "number",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty: the whole plan",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
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
                (
                    "plan",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="entries",
                        to="calls.migrationplan",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "plan entries",
                "ordering": ("-id",),
                "indexes": [
                    models.Index(fields=["plan", "-id"], name="plan_entry_of_plan"),
                    models.Index(fields=["organisation", "-id"], name="plan_entry_list"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Departure",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("preparing", "Being prepared"),
                            ("left", "Left; the way back is still there"),
                            ("finished", "Finished; there is no way back"),
                            ("undone", "Undone"),
                        ],
                        default="preparing",
                        max_length=9,
                    ),
                ),
                (
                    "found",
                    models.JSONField(
                        blank=True, default=dict, help_text="What depended on Vapi at the last look"
                    ),
                ),
                ("looked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "accepted",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="What a person answers for although it cannot be proved: who, why and when",
                    ),
                ),
                (
                    "export_folder",
                    models.CharField(
                        blank=True, help_text="On the machine that exported", max_length=500
                    ),
                ),
                (
                    "export",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="How much was exported, and the list's checksum",
                    ),
                ),
                ("exported_at", models.DateTimeField(blank=True, null=True)),
                (
                    "sealed",
                    voiceplatform.base.fields.EncryptedJSONField(
                        blank=True, help_text="Checksums of the tokens that Vapi knows", null=True
                    ),
                ),
                ("left_at", models.DateTimeField(blank=True, null=True)),
                ("left_by", models.CharField(blank=True, max_length=200)),
                (
                    "token_due_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="Until when Twilio's auth token is to be replaced",
                        null=True,
                    ),
                ),
                ("token_done_at", models.DateTimeField(blank=True, null=True)),
                (
                    "key_due_at",
                    models.DateTimeField(
                        blank=True, help_text="Until when Vapi's keys are to be revoked", null=True
                    ),
                ),
                ("key_done_at", models.DateTimeField(blank=True, null=True)),
                ("reminded_at", models.DateTimeField(blank=True, null=True)),
                ("undone_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
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
                "verbose_name": "leave of Vapi",
                "verbose_name_plural": "leaves of Vapi",
                "ordering": ("-created_at",),
                "permissions": (("leave_vapi", "Can leave Vapi and undo it"),),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state__in", ("preparing", "left"))),
                        fields=("organisation",),
                        name="departure_one_open",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("state__in", ("preparing", "left", "finished", "undone"))
                        ),
                        name="departure_state_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="DepartedNumber",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "before",
                    voiceplatform.base.fields.EncryptedJSONField(
                        help_text="Previous target and net, for the way back"
                    ),
                ),
                (
                    "armed_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When Twilio was seen to have the net without Vapi",
                        null=True,
                    ),
                ),
                (
                    "cleared_at",
                    models.DateTimeField(
                        blank=True, help_text="Since when no call is handed over to Vapi", null=True
                    ),
                ),
                ("undone_at", models.DateTimeField(blank=True, null=True)),
                ("problem", models.CharField(blank=True, max_length=300)),
                (
                    "number",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="departures",
                        to="calls.phonenumber",
                    ),
                ),
                (
                    "departure",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="numbers",
                        to="calls.departure",
                    ),
                ),
            ],
            options={
                "ordering": ("departure", "number__number_e164"),
                "indexes": [
                    models.Index(
                        condition=models.Q(
                            ("cleared_at__isnull", False), ("undone_at__isnull", True)
                        ),
                        fields=["number"],
                        name="departed_number_gone",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("departure", "number"), name="departed_number_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="OldStackRate",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "usd_per_minute",
                    models.DecimalField(
                        decimal_places=4,
                        help_text="Vapi's fee, model, voice, transcriber and its share of the carrier together, e.g. 0.1300",
                        max_digits=8,
                        validators=[django.core.validators.MinValueValidator(0)],
                        verbose_name="USD a minute",
                    ),
                ),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("entered", "Entered by a person"),
                            ("measured", "Measured on Vapi's own records of calls"),
                        ],
                        default="entered",
                        editable=False,
                        max_length=8,
                    ),
                ),
                (
                    "note",
                    models.CharField(
                        blank=True,
                        help_text="Where the figure is from, e.g. invoice of October",
                        max_length=200,
                    ),
                ),
                (
                    "calls",
                    models.PositiveIntegerField(
                        default=0, editable=False, help_text="Measured on so many"
                    ),
                ),
                ("updated_at", models.DateTimeField(auto_now=True)),
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
                "verbose_name": "rate of the old stack",
                "verbose_name_plural": "rates of the old stack",
                "ordering": ("organisation",),
                "constraints": [
                    models.UniqueConstraint(fields=("organisation",), name="old_rate_once"),
                    models.CheckConstraint(
                        condition=models.Q(("usd_per_minute__gte", 0)), name="old_rate_positive"
                    ),
                ],
            },
        ),
    ]
