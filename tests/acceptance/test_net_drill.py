"""The drill of a net on a served instance, from its button on: web, worker, voice webhook, Twilio.

Everything but Twilio and the old stack is real: the page that asks, the job that calls, the webhook
that refuses that one call. What Twilio did is read at the stand-in, not in our rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.acceptance.calls_rig import CallsRig
from tests.acceptance.outside import in_instance
from tests.acceptance.test_browser_moves import _MOVE, call_number
from tests.platform import Platform, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

NUMBER = "+15550100013"

# What runs beside the instance does not know its port.
_HERE = """
from django.conf import settings
settings.PUBLIC_BASE_URL = {url!r}
"""
_TEST_NUMBER = """
from calls.models import NumberNet, PhoneNumber
from calls.services.net_probes import net_look
net = NumberNet.objects.get_or_create(
    number=(number := PhoneNumber.objects.get(number_e164={number!r})),
    defaults={{"organisation": number.organisation}},
)[0]
net_look(net.pk)
NumberNet.objects.filter(pk=net.pk).update(is_test=True)
print(net.pk)
"""
_IS_OVER = """
from calls.models import NumberMove
open_ones = NumberMove.objects.filter(number__number_e164={number!r}, finished_at__isnull=True)
print(open_ones.exclude(step="tested").count() if {waits} else open_ones.count())
"""
_FOUND = """
import json
from calls.models import NetFiring, NumberNet
from voiceplatform.base.models import Job
from calls.services.net_drills import KIND
job = Job.objects.filter(kind=KIND).order_by("-created_at").first()
firing = NetFiring.objects.filter(number__number_e164={number!r}, kind="drill").first()
net = NumberNet.objects.get(number__number_e164={number!r})
print(json.dumps({{
    "state": job.state,
    "message": job.message,
    "firing": firing and [firing.part, firing.outcome, firing.seconds, firing.call_sid],
    "flag": [net.drill_token, net.drill_until and str(net.drill_until)],
}}))
"""
_BACK = """
from calls.services.number_moves import move_continue, restore_begin
from calls.models import PhoneNumber
number = PhoneNumber.objects.get(number_e164={number!r})
move = restore_begin(number=number, actor="a test", why="over")
if move is not None:
    move_continue(move.pk, within_seconds=20)
"""


@contextmanager
def signed_in(platform: Platform) -> Iterator[httpx.Client]:
    password = (platform.var_dir / "keys" / "admin_password").read_text().strip()
    with httpx.Client(base_url=platform.base_url, follow_redirects=True, timeout=30) as client:
        pressed(client, "/admin/login/?next=/healthz", username="admin", password=password)
        yield client


def pressed(client: httpx.Client, path: str, **fields: str) -> httpx.Response:
    """Open a page and send the form on it."""
    page = client.get(path)
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert token is not None, page.text[:500]
    headers = {"Referer": str(client.base_url)}
    answer = client.post(path, data={"csrfmiddlewaretoken": token[1], **fields}, headers=headers)
    assert answer.status_code == 200, answer.text[:500]
    return answer


def test_the_button_of_a_drill_shows_who_answers_a_call_that_this_site_refuses(
    shared_platform: Platform,
) -> None:
    platform = shared_platform
    standins = CallsRig(platform.base_url, platform.var_dir / "db.sqlite3").standins_url
    in_instance(platform, _HERE.format(url=platform.base_url) + _MOVE.format(numbers=[NUMBER]))
    try:
        waits, ended = (_IS_OVER.format(number=NUMBER, waits=each) for each in (True, False))
        wait_until(lambda: in_instance(platform, waits)[-1] == "0", what="the move to be written")
        call_number(platform, NUMBER)  # its first caller, who ends the move
        wait_until(lambda: in_instance(platform, ended)[-1] == "0", what="the move to end")
        net = in_instance(platform, _TEST_NUMBER.format(number=NUMBER))[-1]
        httpx.delete(f"{standins}/old/ledger")
        with signed_in(platform) as client:
            asked = client.get(f"/admin/calls/numbernet/{net}/drill/")
            assert "this site does not answer that one call" in asked.text
            job = pressed(client, f"/admin/calls/numbernet/{net}/drill/")
            assert "/admin/base/job/" in str(job.url), re.findall("No drill.*|error.*", job.text)
        found: dict[str, Any] = {}

        def is_over() -> bool:
            found.update(json.loads(in_instance(platform, _FOUND.format(number=NUMBER))[-1]))
            return found["state"] not in ("queued", "running")

        wait_until(is_over, what="the drill to end", seconds=60)
        assert found["state"] == "done" and found["flag"] == ["", None], found
        part, outcome, seconds, call_sid = found["firing"]
        assert (part, outcome) == ("a", "held") and 0 <= seconds < 30
        # Twilio's side: our refusal was told to the old stack, and that call alone.
        (request,) = httpx.get(f"{standins}/old/ledger").json()
        assert request["form"]["CallSid"] == call_sid and request["form"]["ErrorCode"]
        # The next caller is answered as ever: the mark was for one call.
        call_number(platform, NUMBER)
        assert "ErrorCode" not in httpx.get(f"{standins}/old/ledger").json()[-1]["form"]
    finally:
        in_instance(platform, _BACK.format(number=NUMBER))
