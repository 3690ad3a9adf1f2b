import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [
        ("base", "0004_redacted_tables"),
        ("calls", "0013_number_may_ask_who_answers"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="toolinvocation",
            options={"ordering": ("call", "started_ms", "id"), "verbose_name": "tool call"},
        ),
        migrations.AddField(
            model_name="toolinvocation",
            name="organisation",
            field=models.ForeignKey(
                help_text="That of the call, so that lists need not look there",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="base.organisation",
            ),
        ),
        migrations.AddIndex(
            model_name="toolinvocation",
            index=models.Index(fields=["organisation", "-id"], name="tool_call_by_owner"),
        ),
        migrations.AddIndex(
            model_name="toolinvocation",
            index=models.Index(
                condition=Q(("organisation__isnull", True)),
                fields=["id"],
                name="tool_call_unowned",
            ),
        ),
    ]
