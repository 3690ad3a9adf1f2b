from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("calls", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="outboxevent",
            name="earlier_attempts",
            field=models.PositiveIntegerField(
                default=0, help_text="Attempts made before a person asked for it again"
            ),
        ),
    ]
