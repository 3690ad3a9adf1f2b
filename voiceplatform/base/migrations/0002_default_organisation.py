"""Data: the default organisation, so that a single-tenant installation never thinks of tenants."""

from __future__ import annotations

import uuid

from django.db import migrations

DEFAULT_ORGANISATION_ID = uuid.UUID("00000000-0000-4000-8000-000000000001")


def create(apps, schema_editor):
    organisation = apps.get_model("base", "Organisation")
    organisation.objects.get_or_create(id=DEFAULT_ORGANISATION_ID, defaults={"name": "Default"})


def remove(apps, schema_editor):
    apps.get_model("base", "Organisation").objects.filter(id=DEFAULT_ORGANISATION_ID).delete()


class Migration(migrations.Migration):
    dependencies = [("base", "0001_initial")]

    operations = [migrations.RunPython(create, remove)]
