from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("base", "0006_recordings"),
        ("calls", "0032_number_moves"),
    ]

    operations = [
        migrations.AddField(
            model_name="numbernet",
            name="look_at",
            field=models.DateTimeField(
                blank=True, help_text="When Twilio is asked again; empty: soon", null=True
            ),
        ),
        migrations.AddField(
            model_name="numbernet",
            name="rearm_wanted",
            field=models.BooleanField(
                default=False, help_text="The address has changed and is not written to Twilio yet"
            ),
        ),
        migrations.AddIndex(
            model_name="numbernet",
            index=models.Index(fields=["look_at"], name="net_look_due"),
        ),
    ]
