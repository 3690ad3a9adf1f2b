# Whether calls under a redaction rule may be listened to; schema only.

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("calls", "0018_privacy"),
    ]

    operations = [
        migrations.AddField(
            model_name="redactionrule",
            name="listening_allowed",
            field=models.BooleanField(
                default=False,
                help_text="Off: nobody can listen to these calls as they go on, since sound "
                "cannot be masked. On: whoever may listen hears every word",
            ),
        ),
    ]
