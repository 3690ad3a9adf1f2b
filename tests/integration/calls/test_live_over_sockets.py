"""Reading along and listening over a real server: bytes arrive while the call goes on, and whoever
hangs up leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from calls.media.database import in_database
from calls.services import live_feed
from calls.services.live_monitor import monitor_token
from tests import factories
from tests.integration.calls.rig import Rig, until

pytestmark = [pytest.mark.integration, pytest.mark.django_db(transaction=True)]


async def test_a_reader_who_hangs_up_is_forgotten(rig: Rig) -> None:
    call = await in_database(factories.make_call, turns=[{"text": "Hello"}])
    _, key = await in_database(factories.make_api_key, call.organisation, scopes=("transcripts",))
    url = f"http://127.0.0.1:{rig.port}/call/{call.pk}/transcript"
    async with rig.session.get(url, headers={"authorization": f"Bearer {key}"}) as answer:
        assert answer.status == 200
        text = ""
        async with asyncio.timeout(10):
            while "Hello" not in text:
                text += (await answer.content.readany()).decode()
        await until(lambda: live_feed.reader_count() == 1, what="the reader")
        answer.close()
    await until(lambda: live_feed.reader_count() == 0, what="its end")


async def test_a_call_is_listened_to_and_spoken_into_over_real_sockets(rig: Rig) -> None:
    call = await in_database(factories.make_call)
    address = f"ws://127.0.0.1:{rig.port}/call/{call.pk}/listen?token="
    with pytest.raises(InvalidStatus, match="403"):
        await connect(f"{address}wrong", proxy=None)
    refused = await connect(address + monitor_token(call.pk, "listen"), proxy=None)
    await asyncio.wait_for(refused.wait_closed(), 10)
    assert refused.close_code == 4404
    placed = asyncio.create_task(rig.call("hello"))
    async with asyncio.timeout(15):
        while len(await rig.rows()) < 2 or (await rig.rows())[-1].started_at is None:  # noqa: ASYNC110 - a row
            await asyncio.sleep(0.02)
    live = (await rig.rows())[-1]
    address = f"ws://127.0.0.1:{rig.port}/call/{live.pk}/listen?token="
    pieces = []
    async with connect(address + monitor_token(live.pk, "listen"), proxy=None) as ear:
        pieces.append(await ear.recv())
        said = asyncio.create_task(
            rig.request(
                "POST",
                f"/call/{live.pk}/control?token={monitor_token(live.pk, 'control')}",
                headers={"content-type": "application/json"},
                data=json.dumps({"type": "say", "content": "We close at five."}),
            )
        )
        async for piece in ear:
            pieces.append(piece)
    report = await placed
    answer = await said
    assert (answer.status, json.loads(answer.body)["status"]) == (200, "done")
    assert any("We close at five." in words for words in report.heard), report
    texts = [json.loads(piece) for piece in pieces if isinstance(piece, str)]
    sound = b"".join(piece for piece in pieces if isinstance(piece, bytes))
    assert texts[-1]["status"] == "ended"
    assert any(text["type"] == "transcript" for text in texts)
    assert len(sound) > 32_000 and any(sound)  # a second and more, and not all of it silence
