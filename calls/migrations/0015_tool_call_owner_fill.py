# In small transactions, each of them remembered by what it filled: an interrupted run goes on.
from django.db import migrations

STEP = 200


def fill(apps, schema_editor):
    model = apps.get_model("calls", "ToolInvocation")
    rows = model.objects.filter(organisation__isnull=True).order_by("pk")
    last = 0
    while some := list(rows.filter(pk__gt=last).values_list("pk", "call__organisation_id")[:STEP]):
        last = some[-1][0]
        owners = {}
        for pk, owner in some:
            owners.setdefault(owner, []).append(pk)
        for owner, ids in owners.items():
            model.objects.filter(pk__in=ids).update(organisation_id=owner)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("calls", "0014_tool_call_owner")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop, atomic=False)]
