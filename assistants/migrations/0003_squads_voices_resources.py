import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import voiceplatform.base.fields


class Migration(migrations.Migration):
    dependencies = [
        ("assistants", "0002_import_runs"),
        ("base", "0003_unknown_routes"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="assistant",
            name="draft_revision",
            field=models.ForeignKey(
                blank=True,
                help_text="Newest revision that answers no call yet; empty: nothing waits to be published",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="assistants.assistantrevision",
            ),
        ),
        migrations.AddField(
            model_name="assistant",
            name="imported_revision",
            field=models.ForeignKey(
                blank=True,
                help_text="What the last import brought; tells whether both sides changed since",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="assistants.assistantrevision",
            ),
        ),
        migrations.AddField(
            model_name="assistantrevision",
            name="author",
            field=models.CharField(
                blank=True, help_text="user:name, key:prefix, or system", max_length=200
            ),
        ),
        migrations.AddField(
            model_name="assistantrevision",
            name="note",
            field=models.CharField(
                blank=True, help_text="Why, in the author's words", max_length=500
            ),
        ),
        migrations.CreateModel(
            name="Squad",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                ("name", models.CharField(blank=True, max_length=200)),
                (
                    "document",
                    voiceplatform.base.fields.EncryptedJSONField(
                        help_text="The whole squad as it came"
                    ),
                ),
                ("document_redacted", models.JSONField(blank=True, default=dict)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("deleted_at", models.DateTimeField(blank=True, null=True)),
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
                "ordering": ("name", "id"),
                "indexes": [
                    models.Index(
                        condition=models.Q(("deleted_at__isnull", True)),
                        fields=["organisation", "name"],
                        name="squad_list",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="StoredResource",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("credential", "Credential"),
                            ("structured-output", "Structured Output"),
                            ("eval", "Eval"),
                            ("eval/simulation/personality", "Personality"),
                            ("eval/simulation/scenario", "Scenario"),
                            ("eval/simulation/suite", "Suite"),
                            ("eval/simulation", "Simulation"),
                            ("file", "File"),
                        ],
                        max_length=30,
                    ),
                ),
                ("name", models.CharField(blank=True, max_length=200)),
                (
                    "document",
                    voiceplatform.base.fields.EncryptedJSONField(
                        help_text="The whole object as it came"
                    ),
                ),
                ("document_redacted", models.JSONField(blank=True, default=dict)),
                (
                    "content",
                    models.BinaryField(
                        blank=True, help_text="Bytes of an uploaded file", null=True
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("deleted_at", models.DateTimeField(blank=True, null=True)),
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
                "ordering": ("kind", "name", "id"),
                "indexes": [
                    models.Index(
                        condition=models.Q(("deleted_at__isnull", True)),
                        fields=["organisation", "kind", "-created_at"],
                        name="stored_resource_list",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="VoiceChoice",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "provider",
                    models.CharField(help_text="Vapi's name of the provider", max_length=40),
                ),
                (
                    "voice_id",
                    models.CharField(help_text="The provider's id, in lower case", max_length=200),
                ),
                ("known_as", models.CharField(blank=True, max_length=200)),
                ("realtime_voice", models.CharField(max_length=40)),
                ("reason", models.CharField(blank=True, max_length=200)),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                (
                    "decided_by",
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
                "ordering": ("provider", "known_as", "voice_id"),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organisation", "provider", "voice_id"), name="voice_choice_once"
                    )
                ],
            },
        ),
    ]
