import uuid

import django.db.models.deletion
from django.db import migrations, models

import voiceplatform.base.fields


class Migration(migrations.Migration):
    dependencies = [
        ("base", "0006_recordings"),
        ("calls", "0027_guards_and_notices"),
    ]

    operations = [
        migrations.CreateModel(
            name="NetFiring",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "part",
                    models.CharField(
                        choices=[
                            ("a", "our site dead while it rings"),
                            ("b", "our site dead during a call"),
                            ("c", "the previous stack dead"),
                            ("d", "our site dead, the previous stack closed"),
                        ],
                        max_length=1,
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[("real", "Real"), ("drill", "Drill")], default="real", max_length=5
                    ),
                ),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("held", "somebody answered"),
                            ("failed", "nobody answered"),
                            ("unknown", "not known"),
                        ],
                        default="unknown",
                        max_length=7,
                    ),
                ),
                ("fired_at", models.DateTimeField()),
                (
                    "seconds",
                    models.FloatField(
                        blank=True,
                        help_text="Until somebody else had the caller, where it was measured",
                        null=True,
                    ),
                ),
                ("words", models.CharField(blank=True, max_length=300)),
                ("call_sid", models.CharField(blank=True, default="", max_length=34)),
                ("noticed_at", models.DateTimeField(auto_now_add=True)),
                (
                    "number",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="net_firings",
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
                "verbose_name": "firing of a net",
                "verbose_name_plural": "firings of nets",
                "ordering": ("-fired_at",),
                "indexes": [
                    models.Index(fields=["organisation", "-fired_at"], name="net_firing_list"),
                    models.Index(
                        fields=["number", "part", "kind", "-fired_at"], name="net_firing_last"
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("part__in", ("a", "b", "c", "d"))),
                        name="net_firing_part_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ("real", "drill"))),
                        name="net_firing_kind_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("outcome__in", ("held", "failed", "unknown"))),
                        name="net_firing_outcome_known",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("call_sid", ""), _negated=True),
                        fields=("number", "part", "kind", "call_sid"),
                        name="net_firing_once_a_call",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="NumberNet",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "address",
                    voiceplatform.base.fields.EncryptedTextField(
                        blank=True,
                        default="",
                        help_text="An https address of yours, on other machines than these, that answers TwiML which dials a person (a TwiML Bin, for example). Empty: what answered before the move",
                        verbose_name="address that dials a person",
                    ),
                ),
                (
                    "method",
                    models.CharField(
                        choices=[("POST", "Post"), ("GET", "Get")],
                        default="POST",
                        help_text="How the address is asked",
                        max_length=4,
                    ),
                ),
                (
                    "is_test",
                    models.BooleanField(
                        default=False,
                        help_text="Nobody's customers call it: the net may be fired on purpose",
                        verbose_name="test number",
                    ),
                ),
                (
                    "previous_closed_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="Since when what answered before the move is closed",
                        null=True,
                    ),
                ),
                (
                    "probe_state",
                    models.CharField(
                        choices=[
                            ("unknown", "not looked at"),
                            ("not_moved", "not moved"),
                            ("armed", "armed"),
                            ("mended", "mended"),
                            ("alarm", "alarm"),
                        ],
                        default="unknown",
                        max_length=10,
                    ),
                ),
                ("probe_words", models.CharField(blank=True, max_length=500)),
                (
                    "probed_at",
                    models.DateTimeField(
                        blank=True, help_text="The last look at Twilio", null=True
                    ),
                ),
                (
                    "probe_changed_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="Since when the looks have found this state",
                        null=True,
                    ),
                ),
                (
                    "dead_ms",
                    models.PositiveIntegerField(
                        help_text="After how long Twilio asks the net when nothing takes its connection",
                        null=True,
                    ),
                ),
                (
                    "hanging_ms",
                    models.PositiveIntegerField(
                        help_text="After how long it asks the net when we take it and say nothing",
                        null=True,
                    ),
                ),
                (
                    "has_fallback",
                    models.BooleanField(
                        help_text="Whether the number had a fallback at Twilio at the last look",
                        null=True,
                    ),
                ),
                ("repaired_at", models.DateTimeField(blank=True, null=True)),
                (
                    "address_state",
                    models.CharField(
                        choices=[
                            ("unknown", "not looked at"),
                            ("answers", "answers"),
                            ("fails", "does not answer"),
                        ],
                        default="unknown",
                        max_length=10,
                    ),
                ),
                ("address_words", models.CharField(blank=True, max_length=500)),
                ("address_at", models.DateTimeField(blank=True, null=True)),
                ("lease_token", models.CharField(blank=True, default="", max_length=32)),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
                ("drill_token", models.CharField(blank=True, default="", max_length=32)),
                (
                    "drill_caller",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="The number of ours that calls",
                        max_length=16,
                    ),
                ),
                ("drill_until", models.DateTimeField(blank=True, null=True)),
                ("drill_call_sid", models.CharField(blank=True, default="", max_length=34)),
                (
                    "drill_failed_at",
                    models.DateTimeField(
                        blank=True, help_text="When we did not answer the drill's call", null=True
                    ),
                ),
                (
                    "number",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="net",
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
                "verbose_name": "net",
                "ordering": ("number__number_e164",),
                "indexes": [
                    models.Index(fields=["organisation", "probe_state"], name="net_by_state")
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "probe_state__in",
                                ("unknown", "not_moved", "armed", "mended", "alarm"),
                            )
                        ),
                        name="net_probe_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("method__in", ("POST", "GET"))), name="net_method_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("address_state__in", ("unknown", "answers", "fails"))),
                        name="net_address_known",
                    ),
                ],
            },
        ),
    ]
