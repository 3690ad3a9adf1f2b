import uuid

import django.db.models.deletion
from django.db import migrations, models

import voiceplatform.base.fields


class Migration(migrations.Migration):
    dependencies = [
        ("assistants", "0007_file_readings_fill"),
        ("base", "0006_recordings"),
        ("calls", "0027_number_routes"),
    ]

    operations = [
        migrations.CreateModel(
            name="NumberMove",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "direction",
                    models.CharField(
                        choices=[("here", "To this platform"), ("back", "Back to how it was")],
                        max_length=4,
                    ),
                ),
                (
                    "step",
                    models.CharField(
                        choices=[
                            ("stored", "Snapshot kept, about to be written"),
                            ("posted", "Written, to be compared"),
                            ("compared", "Written and compared, test call next"),
                            ("tested", "Waits for the first caller"),
                            ("done", "Done"),
                            ("stopped", "Stopped, needs a person"),
                            ("abandoned", "Left as it is"),
                        ],
                        default="stored",
                        max_length=9,
                    ),
                ),
                (
                    "state",
                    voiceplatform.base.fields.EncryptedJSONField(
                        help_text="What steps.Move is made of; stored before each action"
                    ),
                ),
                (
                    "snapshot",
                    voiceplatform.base.fields.EncryptedJSONField(
                        help_text="How the number was at Twilio before; of a move here only",
                        null=True,
                    ),
                ),
                (
                    "route_before",
                    models.JSONField(
                        blank=True, default=dict, help_text="The number's route before it came here"
                    ),
                ),
                (
                    "may_be_written",
                    models.BooleanField(
                        default=False, help_text="A change was sent to Twilio, or was about to be"
                    ),
                ),
                (
                    "writes",
                    models.PositiveSmallIntegerField(default=0, help_text="How often it was sent"),
                ),
                (
                    "problem",
                    models.CharField(
                        blank=True, help_text="What it waits for, in words", max_length=500
                    ),
                ),
                ("stop_code", models.CharField(blank=True, max_length=20)),
                ("who", models.CharField(help_text="As audit entries name people", max_length=200)),
                ("why", models.CharField(blank=True, max_length=500)),
                (
                    "key",
                    models.CharField(
                        blank=True,
                        help_text="The same order twice is one move; empty: none",
                        max_length=200,
                    ),
                ),
                (
                    "test_state",
                    models.CharField(
                        blank=True,
                        help_text="placed, answered, failed, skipped, or none yet",
                        max_length=10,
                    ),
                ),
                ("test_words", models.CharField(blank=True, max_length=300)),
                (
                    "test_call_sid",
                    models.CharField(blank=True, help_text="Twilio's, of our call", max_length=34),
                ),
                ("test_caller", models.CharField(blank=True, max_length=16)),
                ("test_placed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "test_seen_sid",
                    models.CharField(
                        blank=True, help_text="The test call as it came in here", max_length=34
                    ),
                ),
                (
                    "first_call_sid",
                    models.CharField(
                        blank=True,
                        help_text="The first caller's call, as it came in here",
                        max_length=34,
                    ),
                ),
                (
                    "settle_until",
                    models.DateTimeField(
                        blank=True,
                        help_text="Until then a move that was taken over may still be writing; it is looked again",
                        null=True,
                    ),
                ),
                ("lease_token", models.CharField(blank=True, max_length=32)),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
                (
                    "next_at",
                    models.DateTimeField(
                        blank=True, help_text="Empty: nothing to do by itself", null=True
                    ),
                ),
                (
                    "silences",
                    models.PositiveSmallIntegerField(
                        default=0, help_text="How often in a row Twilio did not answer"
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "closed_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When the snapshot stopped being the way back: it was used, or a newer move has its own",
                        null=True,
                    ),
                ),
                (
                    "number",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="moves",
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
                    "restores",
                    models.ForeignKey(
                        blank=True,
                        help_text="The move here that a way back undoes",
                        null=True,
                        on_delete=django.db.models.deletion.RESTRICT,
                        related_name="restored_by",
                        to="calls.numbermove",
                    ),
                ),
            ],
            options={
                "verbose_name": "move of a number",
                "verbose_name_plural": "moves of numbers",
                "ordering": ("-created_at",),
                "indexes": [
                    models.Index(fields=["number", "-created_at"], name="move_of_number"),
                    models.Index(
                        condition=models.Q(("finished_at__isnull", True)),
                        fields=["next_at"],
                        name="move_due",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("finished_at__isnull", True)),
                        fields=("number",),
                        name="move_one_open",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("closed_at__isnull", True), ("direction", "here")),
                        fields=("number",),
                        name="move_one_way_back",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("key", ""), _negated=True),
                        fields=("number", "direction", "key"),
                        name="move_once_per_key",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("direction", "back"), ("restores__isnull", False)),
                            models.Q(("direction", "here"), ("snapshot__isnull", False)),
                            _connector="OR",
                        ),
                        name="move_has_its_snapshot",
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
                (
                    "look_at",
                    models.DateTimeField(
                        blank=True, help_text="When Twilio is asked again; empty: soon", null=True
                    ),
                ),
                (
                    "rearm_wanted",
                    models.BooleanField(
                        default=False,
                        help_text="The address has changed and is not written to Twilio yet",
                    ),
                ),
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
                    models.Index(fields=["organisation", "probe_state"], name="net_by_state"),
                    models.Index(fields=["look_at"], name="net_look_due"),
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
        migrations.AddField(
            model_name="twilioaccount",
            name="api_key_secret",
            field=voiceplatform.base.fields.EncryptedTextField(blank=True, default=""),
        ),
        migrations.AddField(
            model_name="twilioaccount",
            name="api_key_sid",
            field=models.CharField(
                blank=True,
                default="",
                help_text="SK… with its secret: Twilio is then asked with this key, not with the token. The token is needed all the same, because Twilio signs its webhooks with it",
                max_length=34,
            ),
        ),
        migrations.AddField(
            model_name="twilioaccount",
            name="edge",
            field=models.CharField(
                blank=True,
                default="",
                help_text="Twilio's entry point, e.g. dublin. Empty: the region's own",
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="twilioaccount",
            name="region",
            field=models.CharField(
                default="us1",
                help_text="us1, ie1 or au1: where the token and the key above are of, and where the account's numbers are handled",
                max_length=10,
            ),
        ),
        migrations.AddConstraint(
            model_name="twilioaccount",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("api_key_secret", ""), ("api_key_sid", "")),
                    models.Q(
                        models.Q(("api_key_sid", ""), _negated=True),
                        models.Q(("api_key_secret", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="twilio_key_whole",
                violation_error_message="An API key goes with its secret. Fix: enter both, or neither.",
            ),
        ),
    ]
