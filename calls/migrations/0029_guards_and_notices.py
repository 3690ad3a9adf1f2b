import uuid

import django.db.models.deletion
from django.db import migrations, models

import voiceplatform.base.fields


class Migration(migrations.Migration):
    dependencies = [
        ("assistants", "0007_file_readings_fill"),
        ("base", "0006_recordings"),
        ("calls", "0028_number_moves"),
    ]

    operations = [
        migrations.CreateModel(
            name="GuardLimits",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "first_word_ms",
                    models.PositiveIntegerField(
                        default=3000,
                        help_text="A call whose first word comes later than this counts as slow; 500 to 30000",
                        verbose_name="first word after, in ms",
                    ),
                ),
                (
                    "turn_ms",
                    models.PositiveIntegerField(
                        default=3000,
                        help_text="A call of whose answers more than one in twenty takes longer counts as slow; 500 to 30000",
                        verbose_name="answers within, in ms",
                    ),
                ),
                (
                    "early_seconds",
                    models.PositiveSmallIntegerField(
                        default=8,
                        help_text="A caller who hangs up before this many seconds left early; 1 to 60",
                        verbose_name="hung up early, in s",
                    ),
                ),
                (
                    "usual_failed_percent",
                    models.DecimalField(
                        blank=True,
                        decimal_places=1,
                        help_text="Empty: 0.5. A larger share makes the guard more patient; at most 50",
                        max_digits=4,
                        null=True,
                        verbose_name="failed calls on a good day, in %",
                    ),
                ),
                (
                    "usual_dead_air_percent",
                    models.DecimalField(
                        blank=True,
                        decimal_places=1,
                        help_text="Empty: 0.5. A larger share makes the guard more patient; at most 50",
                        max_digits=4,
                        null=True,
                        verbose_name="calls with dead air on a good day, in %",
                    ),
                ),
                (
                    "usual_tool_failed_percent",
                    models.DecimalField(
                        blank=True,
                        decimal_places=1,
                        help_text="Empty: 1.0. A larger share makes the guard more patient; at most 50",
                        max_digits=4,
                        null=True,
                        verbose_name="calls with a failed tool on a good day, in %",
                    ),
                ),
                (
                    "usual_hung_up_percent",
                    models.DecimalField(
                        blank=True,
                        decimal_places=1,
                        help_text="Empty: 8.0. A larger share makes the guard more patient; at most 50",
                        max_digits=4,
                        null=True,
                        verbose_name="callers who hang up early on a good day, in %",
                    ),
                ),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "number",
                    models.OneToOneField(
                        blank=True,
                        help_text="Empty: every number of the organisation that has no limits of its own",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="guard_limits",
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
                "verbose_name": "guard limits",
                "verbose_name_plural": "guard limits",
                "ordering": ("organisation", "number"),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("number__isnull", True)),
                        fields=("organisation",),
                        name="guard_limits_default_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("first_word_ms__range", (500, 30000)),
                            ("turn_ms__range", (500, 30000)),
                            ("early_seconds__range", (1, 60)),
                        ),
                        name="guard_limits_sane",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="NumberGuard",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("stack", models.CharField(max_length=6)),
                (
                    "state",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="The open incident as the machine of the restore has it",
                    ),
                ),
                (
                    "armed_at",
                    models.DateTimeField(help_text="Calls that began before do not count"),
                ),
                (
                    "off_since",
                    models.DateTimeField(
                        blank=True,
                        help_text="Since its route sends no calls to this stack",
                        null=True,
                    ),
                ),
                (
                    "next_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When the next try of a restore, or a notice, is due",
                        null=True,
                    ),
                ),
                (
                    "version",
                    models.PositiveIntegerField(
                        default=0, help_text="Counts the changes of this row"
                    ),
                ),
                (
                    "number",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="guards",
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
                "ordering": ("number", "stack"),
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_at__isnull", False)),
                        fields=["next_at"],
                        name="guard_due",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("number", "stack"), name="guard_once"),
                    models.CheckConstraint(
                        condition=models.Q(("stack__in", ("direct", "vapi"))),
                        name="guard_stack_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Incident",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("key", models.CharField(max_length=120, unique=True)),
                ("stack", models.CharField(max_length=6)),
                ("opened_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "signals",
                    models.JSONField(
                        default=list, help_text="Which of the guard's signals tripped"
                    ),
                ),
                (
                    "words",
                    models.CharField(help_text="What was seen; figures only", max_length=500),
                ),
                ("evidence", models.JSONField(blank=True, default=dict)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("due", "being restored"),
                            ("restored", "restored"),
                            ("person", "needs a person"),
                            ("nothing", "told, nothing was moved"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "tries",
                    models.PositiveIntegerField(default=0, help_text="Of the restore at Twilio"),
                ),
                ("restored_at", models.DateTimeField(blank=True, null=True)),
                ("last_error", models.CharField(blank=True, max_length=500)),
                ("closed_by", models.CharField(blank=True, max_length=200)),
                ("closed_why", models.CharField(blank=True, max_length=500)),
                (
                    "number",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="incidents",
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
                "ordering": ("-opened_at",),
                "indexes": [
                    models.Index(fields=["organisation", "-opened_at"], name="incident_list"),
                    models.Index(fields=["-opened_at"], name="incident_list_all"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("closed_at__isnull", True)),
                        fields=("number", "stack"),
                        name="incident_one_open",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ("due", "restored", "person", "nothing"))),
                        name="incident_state_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("stack__in", ("direct", "vapi"))),
                        name="incident_stack_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="IncidentCall",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "call",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="incidents",
                        to="calls.call",
                    ),
                ),
                (
                    "incident",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="listed",
                        to="calls.incident",
                    ),
                ),
            ],
            options={
                "verbose_name": "call of an incident",
                "verbose_name_plural": "calls of incidents",
                "ordering": ("incident", "id"),
                "constraints": [
                    models.UniqueConstraint(fields=("incident", "call"), name="incident_call_once")
                ],
            },
        ),
        migrations.AddField(
            model_name="incident",
            name="calls",
            field=models.ManyToManyField(
                related_name="+", through="calls.IncidentCall", to="calls.call"
            ),
        ),
        migrations.CreateModel(
            name="Notice",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "key",
                    models.CharField(help_text="The same cause has the same key", max_length=160),
                ),
                ("subject", models.CharField(max_length=200)),
                ("words", models.TextField()),
                ("ids", models.JSONField(blank=True, default=dict)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "incident",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="notices",
                        to="calls.incident",
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
                "indexes": [
                    models.Index(fields=["organisation", "-created_at"], name="notice_list")
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("organisation", "key"), name="notice_key_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="NoticeReceiver",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        help_text="How people know it, e.g. Desk on duty", max_length=100
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("email", "E-mail"),
                            ("webhook", "Webhook (signed JSON)"),
                            ("slack", "Slack, or what takes its messages"),
                        ],
                        max_length=7,
                    ),
                ),
                (
                    "address",
                    voiceplatform.base.fields.EncryptedTextField(
                        help_text="A mailbox, or an address beginning with https://. It is not shown again"
                    ),
                ),
                (
                    "address_hint",
                    models.CharField(
                        blank=True,
                        help_text="The host, so that people recognise it",
                        max_length=255,
                    ),
                ),
                (
                    "secret",
                    voiceplatform.base.fields.EncryptedTextField(
                        blank=True, default="", help_text="whsec_…, signs a webhook"
                    ),
                ),
                ("enabled", models.BooleanField(default=True, verbose_name="on")),
                (
                    "switched_off_at",
                    models.DateTimeField(
                        blank=True, help_text="Since the receiver said that it is gone", null=True
                    ),
                ),
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
                "verbose_name": "notice receiver",
                "ordering": ("name", "id"),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ("email", "webhook", "slack"))),
                        name="notice_kind_known",
                    )
                ],
            },
        ),
        migrations.AddField(
            model_name="outboxevent",
            name="notice",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="events",
                to="calls.notice",
            ),
        ),
        migrations.AddField(
            model_name="outboxevent",
            name="notice_receiver",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                help_text="Who is told of a notice; the address is looked up when it is sent",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="events",
                to="calls.noticereceiver",
            ),
        ),
        migrations.AddIndex(
            model_name="outboxevent",
            index=models.Index(
                condition=models.Q(("notice__isnull", False)),
                fields=["notice"],
                name="outbox_of_notice",
            ),
        ),
        migrations.AddIndex(
            model_name="outboxevent",
            index=models.Index(
                condition=models.Q(("notice_receiver__isnull", False)),
                fields=["notice_receiver"],
                name="outbox_of_notice_receiver",
            ),
        ),
    ]
