from __future__ import annotations

from django.db import migrations

import voiceplatform.base.fields


class Migration(migrations.Migration):
    dependencies = [("calls", "0016_silent_hosts")]

    operations = [
        migrations.AddField(
            model_name="call",
            name="variable_values",
            field=voiceplatform.base.fields.EncryptedJSONField(
                blank=True, help_text="What tools' results have set during the call", null=True
            ),
        ),
    ]
