import django.db.models.deletion
from django.db import migrations, models

import voiceplatform.base.fields


class Migration(migrations.Migration):
    dependencies = [
        ("assistants", "0004_imported_objects"),
        ("calls", "0008_refused_requests_and_unanswered"),
    ]

    operations = [
        migrations.CreateModel(
            name="AssistantActivation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("ordinal", models.PositiveSmallIntegerField()),
                ("assistant_name", models.CharField(blank=True, max_length=200)),
                (
                    "tool_call_id",
                    models.CharField(
                        blank=True,
                        help_text="The function call that handed the call over",
                        max_length=64,
                    ),
                ),
                (
                    "started_ms",
                    models.PositiveIntegerField(help_text="From the call's first stream start"),
                ),
                (
                    "first_ordinal",
                    models.PositiveIntegerField(
                        help_text=(
                            "Turns with this number and later ones are of this assistant's part"
                        )
                    ),
                ),
                (
                    "context",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="What of the conversation before it was told",
                    ),
                ),
                (
                    "variables",
                    voiceplatform.base.fields.EncryptedJSONField(blank=True, null=True),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "call",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="activations",
                        to="calls.call",
                    ),
                ),
                (
                    "revision",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="assistants.assistantrevision",
                    ),
                ),
                (
                    "squad",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="assistants.squad",
                    ),
                ),
            ],
            options={
                "verbose_name": "assistant in a call",
                "verbose_name_plural": "assistants in calls",
                "ordering": ("call", "ordinal"),
                "constraints": (
                    models.UniqueConstraint(
                        fields=("call", "ordinal"), name="activation_ordinal_once"
                    ),
                ),
            },
        ),
        migrations.AddField(
            model_name="phonenumber",
            name="squad",
            field=models.ForeignKey(
                blank=True,
                help_text=(
                    "Several assistants that hand a call on to each other: its first member "
                    "answers. The assistant above answers when no member can"
                ),
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="numbers",
                to="assistants.squad",
            ),
        ),
        migrations.AddField(
            model_name="call",
            name="activation",
            field=models.ForeignKey(
                blank=True,
                help_text="The assistant that has the call now; empty: it was never handed over",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="calls.assistantactivation",
            ),
        ),
    ]
