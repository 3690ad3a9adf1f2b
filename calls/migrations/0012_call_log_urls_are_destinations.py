"""Turns each organisation's call log URL into a receiver of its own, under its old secret."""

from django.db import migrations
from django.utils import timezone


def move(apps, schema_editor):
    Organisation = apps.get_model("base", "Organisation")
    EventDestination = apps.get_model("calls", "EventDestination")
    for organisation in Organisation.objects.exclude(call_log_url=""):
        EventDestination.objects.create(
            organisation=organisation,
            name="Call log",
            url=organisation.call_log_url,
            url_host=_host(organisation.call_log_url),
            kinds=["call.ended"],
            plain_secret=organisation.call_log_secret,
            active_since=timezone.now(),
        )
        organisation.call_log_url = organisation.call_log_secret = ""
        organisation.save(update_fields=["call_log_url", "call_log_secret"])


def _host(url):
    from urllib.parse import urlsplit

    try:
        return (urlsplit(url).hostname or "")[:255]
    except ValueError:
        return ""


def move_back(apps, schema_editor):
    """Give an organisation its first call log back; others cannot be told in the old way."""
    EventDestination = apps.get_model("calls", "EventDestination")
    rows = EventDestination.objects.filter(name="Call log", enabled=True).order_by("created_at")
    for row in rows.select_related("organisation"):
        organisation = row.organisation
        if "call.ended" in row.kinds and not organisation.call_log_url:
            organisation.call_log_url = row.url
            organisation.call_log_secret = row.plain_secret
            organisation.save(update_fields=["call_log_url", "call_log_secret"])
            row.delete()


class Migration(migrations.Migration):
    dependencies = [("calls", "0011_receivers_of_events")]

    operations = [migrations.RunPython(move, move_back)]
