"""Keep what a model made of a call, and which calls wait for that."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("base", "0005_call_analysis"),
        ("calls", "0022_spoken_words_fill"),
    ]

    operations = [
        migrations.AddField(
            model_name="call",
            name="analysis",
            field=models.JSONField(
                blank=True, help_text="What a model made of the call, as Vapi's analysis", null=True
            ),
        ),
        migrations.AddField(
            model_name="call",
            name="analysis_due_at",
            field=models.DateTimeField(
                blank=True, help_text="Since when a worker is wanted to analyse it", null=True
            ),
        ),
        migrations.AddField(
            model_name="providerconnection",
            name="text_model",
            field=models.CharField(
                blank=True,
                help_text="Summarises and judges calls after they end. Empty: the instance's usual one; at Azure and behind old gateways, where names are your own: none, so calls are not analysed",
                max_length=80,
            ),
        ),
        migrations.AddIndex(
            model_name="call",
            index=models.Index(
                condition=models.Q(("analysis_due_at__isnull", False)),
                fields=["analysis_due_at"],
                name="call_analysis_due",
            ),
        ),
    ]
