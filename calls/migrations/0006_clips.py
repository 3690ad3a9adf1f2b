import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("assistants", "0004_imported_objects"),
        ("calls", "0005_number_contract_marks"),
    ]

    operations = [
        migrations.CreateModel(
            name="RenderedClip",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("greeting", "Greeting"),
                            ("filler", "While the caller waits"),
                            ("apology", "When the model fails"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "language",
                    models.CharField(blank=True, help_text="ISO 639-1; empty: any", max_length=10),
                ),
                ("voice", models.CharField(help_text="Realtime voice", max_length=60)),
                ("speech_model", models.CharField(max_length=80)),
                ("speed", models.FloatField(default=1.0)),
                ("text", models.TextField()),
                (
                    "text_hash",
                    models.CharField(help_text="SHA-256 of the text and the speed", max_length=64),
                ),
                (
                    "audio_mulaw",
                    models.BinaryField(help_text="G.711 mu-law, 8 kHz, no header", null=True),
                ),
                ("rendered_at", models.DateTimeField(editable=False, null=True)),
                (
                    "render_error",
                    models.CharField(blank=True, editable=False, max_length=300),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0, editable=False)),
                (
                    "due_at",
                    models.DateTimeField(
                        editable=False, help_text="Render it then; empty: nothing to do", null=True
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "connection",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="calls.providerconnection",
                    ),
                ),
                (
                    "revision",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="clips",
                        to="assistants.assistantrevision",
                    ),
                ),
            ],
            options={
                "ordering": ("revision_id", "-kind", "pk"),
                "indexes": [
                    models.Index(
                        condition=models.Q(("due_at__isnull", False)),
                        fields=["due_at"],
                        name="clip_due",
                    ),
                    models.Index(fields=["text_hash"], name="clip_same_words"),
                    models.Index(fields=["created_at"], name="clip_age"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("revision", "kind", "voice", "speech_model", "text_hash"),
                        name="clip_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ("greeting", "filler", "apology"))),
                        name="clip_kind_known",
                    ),
                ],
            },
        ),
    ]
