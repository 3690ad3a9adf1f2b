from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("calls", "0004_talk"),
    ]

    operations = [
        migrations.AddField(
            model_name="phonenumber",
            name="health_data",
            field=models.BooleanField(
                default=False,
                help_text="Callers tell health data (PHI): only connections with a signed BAA and "
                "without retention are used",
            ),
        ),
        migrations.AddField(
            model_name="phonenumber",
            name="eu_data",
            field=models.BooleanField(
                default=False,
                help_text="Callers' data stays in the EU: only connections of region eu with a "
                "signed DPA are used",
            ),
        ),
    ]
