import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import voiceplatform.base.fields


class Migration(migrations.Migration):
    dependencies = [
        ("base", "0004_redacted_tables"),
        ("calls", "0006_clips"),
        ("tools", "0002_tool_is_inline"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="toolinvocation",
            name="created_at",
            field=models.DateTimeField(auto_now_add=True, null=True),
        ),
        migrations.AddField(
            model_name="toolinvocation",
            name="tool",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="invocations",
                to="tools.tool",
            ),
        ),
        migrations.CreateModel(
            name="ToolCheck",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "allows_marked_call",
                    models.BooleanField(
                        default=False,
                        help_text="The owner of the server allows requests that are marked as a test",
                    ),
                ),
                ("allowed_at", models.DateTimeField(blank=True, null=True)),
                ("checked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "verdict",
                    models.CharField(
                        choices=[
                            ("unknown", "not checked"),
                            ("ok", "works"),
                            ("unsure", "cannot tell"),
                            ("failed", "does not work"),
                        ],
                        default="unknown",
                        max_length=8,
                    ),
                ),
                (
                    "was_dry",
                    models.BooleanField(
                        default=True, help_text="Nothing but TLS and HEAD was tried"
                    ),
                ),
                (
                    "answers",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="Each question with its state, words and fix",
                    ),
                ),
                (
                    "allowed_by",
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
                (
                    "tool",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="check_result",
                        to="tools.tool",
                    ),
                ),
            ],
            options={
                "ordering": ("tool__name", "id"),
                "permissions": (("try_tool", "Can send test requests to tool servers"),),
            },
        ),
        migrations.CreateModel(
            name="ToolExchange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("host", models.CharField(blank=True, max_length=255)),
                (
                    "url_shown",
                    models.CharField(blank=True, help_text="Without secrets", max_length=500),
                ),
                (
                    "status",
                    models.PositiveSmallIntegerField(default=0, help_text="0: no answer came"),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=1)),
                ("duration_ms", models.PositiveIntegerField(default=0)),
                (
                    "error",
                    models.CharField(blank=True, help_text="Why no answer came", max_length=200),
                ),
                ("request_bytes", models.PositiveIntegerField(default=0)),
                ("response_bytes", models.PositiveIntegerField(default=0)),
                (
                    "content",
                    voiceplatform.base.fields.EncryptedBinaryField(
                        blank=True,
                        help_text="Both bodies, redacted: zlib-compressed JSON",
                        null=True,
                    ),
                ),
                (
                    "call",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="tool_exchanges",
                        to="calls.call",
                    ),
                ),
            ],
            options={
                "verbose_name": "request to a tool server",
                "verbose_name_plural": "requests to tool servers",
                "ordering": ("call", "id"),
            },
        ),
        migrations.AddField(
            model_name="toolinvocation",
            name="exchange",
            field=models.ForeignKey(
                blank=True,
                help_text="The request that carried it; none where nothing was sent",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="invocations",
                to="calls.toolexchange",
            ),
        ),
        migrations.AddIndex(
            model_name="toolinvocation",
            index=models.Index(fields=["tool", "-id"], name="tool_call_by_tool"),
        ),
        migrations.AddIndex(
            model_name="toolinvocation",
            index=models.Index(fields=["state", "-id"], name="tool_call_by_state"),
        ),
        migrations.AddIndex(
            model_name="toolinvocation",
            index=models.Index(fields=["name", "-id"], name="tool_call_by_name"),
        ),
        migrations.AddIndex(
            model_name="toolinvocation",
            index=models.Index(fields=["-created_at"], name="tool_call_by_time"),
        ),
        migrations.AddIndex(
            model_name="toolcheck",
            index=models.Index(fields=["organisation", "verdict"], name="tool_check_by_verdict"),
        ),
        migrations.AddConstraint(
            model_name="toolcheck",
            constraint=models.CheckConstraint(
                condition=models.Q(("verdict__in", ("unknown", "ok", "unsure", "failed"))),
                name="tool_check_verdict_known",
            ),
        ),
    ]
