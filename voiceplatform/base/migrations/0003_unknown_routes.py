import uuid

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("base", "0002_default_organisation"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="expires_at",
            field=models.DateTimeField(blank=True, help_text="Empty: never", null=True),
        ),
        migrations.CreateModel(
            name="UnknownRoute",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("method", models.CharField(max_length=10)),
                (
                    "route",
                    models.CharField(
                        help_text="The path with ids replaced by {id}", max_length=200
                    ),
                ),
                ("count", models.PositiveIntegerField(default=0)),
                ("first_at", models.DateTimeField(auto_now_add=True)),
                ("last_at", models.DateTimeField()),
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
                "verbose_name": "route your scripts called that we lack",
                "verbose_name_plural": "routes your scripts called that we lack",
                "ordering": ("-last_at",),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("organisation", "method", "route"), name="unknown_route_once"
                    )
                ],
            },
        ),
    ]
