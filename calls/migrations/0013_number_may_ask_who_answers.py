"""A number that answers may have no assistant of its own: then its server names one (5.3)."""

from __future__ import annotations

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = (("calls", "0012_call_log_urls_are_destinations"),)

    operations = (
        migrations.RemoveConstraint(
            model_name="phonenumber", name="number_direct_needs_assistant_and_policy"
        ),
        migrations.AddConstraint(
            model_name="phonenumber",
            constraint=models.CheckConstraint(
                condition=Q(route__in=("vapi", "paused")) | Q(policy__isnull=False),
                name="number_direct_needs_policy",
            ),
        ),
    )
