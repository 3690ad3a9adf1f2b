# What callers are asked, and what they answered; schema only, nullable on the long table.

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("calls", "0019_listening_under_a_rule"),
    ]

    operations = [
        migrations.AddField(
            model_name="call",
            name="consent",
            field=models.JSONField(
                blank=True,
                help_text="Of a caller who was asked: state, when (at), by key or spoken (kind), and which key or known phrase (answer); never the caller's own words",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="policywording",
            name="question",
            field=models.CharField(
                blank=True,
                help_text="Asked after the line where the policy asks for consent; it must name the keys 1 for yes and 2 for no. Empty: the question that comes with this version, put in here when the policy is marked as reviewed",
                max_length=500,
            ),
        ),
    ]
