import uuid

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("base", "0004_redacted_tables"),
        ("calls", "0007_tool_records"),
    ]

    operations = [
        migrations.CreateModel(
            name="RefusedRequest",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "account_sid",
                    models.CharField(
                        blank=True,
                        help_text="As the request says; empty: it named none",
                        max_length=34,
                    ),
                ),
                (
                    "cause",
                    models.CharField(
                        choices=[
                            ("other-url", "Signed for another address"),
                            ("wrong", "Signature does not fit"),
                            ("unsigned", "Not signed at all"),
                            ("unknown-account", "Account not known"),
                        ],
                        max_length=16,
                    ),
                ),
                (
                    "url",
                    models.CharField(help_text="The address over which we hashed", max_length=300),
                ),
                (
                    "signed_url",
                    models.CharField(
                        blank=True,
                        help_text="The address that Twilio signed, where we found it",
                        max_length=300,
                    ),
                ),
                ("minute", models.DateTimeField()),
                ("count", models.PositiveIntegerField(default=0)),
                ("last_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "refused request",
                "ordering": ("-last_at",),
            },
        ),
        migrations.AddField(
            model_name="operatordesk",
            name="unanswered",
            field=models.CharField(
                choices=[
                    ("assistant", "The assistant goes on, and says that nobody answered"),
                    ("number", "Another number is tried, then the assistant goes on"),
                    ("message", "A spoken message, then the call ends"),
                ],
                default="assistant",
                max_length=9,
            ),
        ),
        migrations.AddField(
            model_name="operatordesk",
            name="unanswered_destination",
            field=models.CharField(blank=True, max_length=255),
        ),
        migrations.AlterField(
            model_name="operatordesk",
            name="no_answer_message",
            field=models.CharField(
                blank=True,
                help_text="When nobody takes the call and the assistant cannot go on either",
                max_length=500,
            ),
        ),
        migrations.AddConstraint(
            model_name="operatordesk",
            constraint=models.CheckConstraint(
                condition=models.Q(("unanswered__in", ("assistant", "number", "message"))),
                name="desk_unanswered_known",
            ),
        ),
        migrations.AddField(
            model_name="refusedrequest",
            name="account",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="calls.twilioaccount",
            ),
        ),
        migrations.AddField(
            model_name="refusedrequest",
            name="call",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="calls.call",
            ),
        ),
        migrations.AddField(
            model_name="refusedrequest",
            name="organisation",
            field=models.ForeignKey(
                default=uuid.UUID("00000000-0000-4000-8000-000000000001"),
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="base.organisation",
            ),
        ),
        migrations.AddIndex(
            model_name="refusedrequest",
            index=models.Index(fields=["organisation", "-last_at"], name="refusal_list"),
        ),
        migrations.AddIndex(
            model_name="refusedrequest",
            index=models.Index(fields=["account", "-last_at"], name="refusal_by_account"),
        ),
        migrations.AddConstraint(
            model_name="refusedrequest",
            constraint=models.UniqueConstraint(
                fields=("account_sid", "url", "cause", "minute"), name="refusal_once_a_minute"
            ),
        ),
        migrations.AddConstraint(
            model_name="refusedrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("cause__in", ("other-url", "wrong", "unsigned", "unknown-account"))
                ),
                name="refusal_cause_known",
            ),
        ),
    ]
