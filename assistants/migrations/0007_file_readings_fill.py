# Files that were uploaded before they could be searched wait to be read. There are few, and the
# rows hold no bytes.
from django.db import migrations

STEP = 100


def fill(apps, schema_editor):
    files = apps.get_model("assistants", "StoredResource").objects
    readings = apps.get_model("assistants", "FileReading").objects
    rows = files.filter(kind="file", deleted_at__isnull=True, reading__isnull=True)
    while some := list(rows.values_list("pk", "organisation_id")[:STEP]):
        readings.bulk_create(
            [readings.model(file_id=pk, organisation_id=owner) for pk, owner in some],
            ignore_conflicts=True,
        )


class Migration(migrations.Migration):
    dependencies = [("assistants", "0006_passage_index")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
