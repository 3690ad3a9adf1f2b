"""kill -9 of any part while a call is on: the caller's call goes on (design.md 2.4, 2.5; T30)."""

from __future__ import annotations

import pytest

from tests.acceptance.calls_rig import LONG, POLICY_LINE, CallsRig, PlacedCall, assert_no_traceback
from tests.platform import Platform, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

CONVERSATION = [
    ("user", "First question."),
    ("assistant", "Here is the first answer for you."),
    ("user", "Second question."),
    ("assistant", "Here is the second answer for you."),
    ("user", "Third question."),
    ("assistant", "Here is the third answer for you."),
    ("user", "Thank you."),
    ("assistant", "Goodbye then."),
]


def _rig(platform: Platform) -> CallsRig:
    return CallsRig(platform.base_url, platform.var_dir / "db.sqlite3")


def _assert_scripted_end(rig: CallsRig, placed: PlacedCall, streams: int = 1) -> None:
    report = placed.report()
    assert report["failures"] == [], report
    assert report["ended_by"] == "caller"
    assert report["streams"] == streams
    row = rig.ended(placed)
    assert (row["ended_reason"], row["stream_count"]) == ("customer-ended-call", streams)


def test_kill_9_of_web_worker_beat_and_valkey_while_calls_are_on(
    shared_platform: Platform,
) -> None:
    platform = shared_platform
    rig = _rig(platform)
    media = platform.pid_of("media")
    calls = [rig.place(LONG), rig.place(LONG)]
    groups = ("web", "worker"), ("valkey", "beat", "watcher")
    for placed, parts in zip(calls, groups, strict=True):
        placed.wait("heard", "first answer")
        for part in parts:
            platform.kill(part)
    for placed in calls:
        _assert_scripted_end(rig, placed)
        assert [turn for turn in rig.spoken(placed) if turn[1] in dict(CONVERSATION).values()
                or turn in CONVERSATION] == CONVERSATION  # fmt: skip
    assert platform.pid_of("media") == media
    wait_until(lambda: platform.get("/readyz")[0] == 200, what="readiness")


def test_kill_9_of_media_resumes_the_live_call_and_its_successor_answers(
    shared_platform: Platform,
) -> None:
    platform = shared_platform
    rig = _rig(platform)
    live = rig.place(LONG)
    live.wait("heard", "first answer")
    # What was said must have reached the database: the journal writes every half second.
    wait_until(
        lambda: ("assistant", CONVERSATION[1][1]) in rig.spoken(live), what="the stored turn"
    )
    before = platform.kill("media")
    late = rig.place("hello")  # its webhook meets the gap
    late_report = late.report()
    assert late_report["errors"] == [], late_report
    assert platform.pid_of("media") != before

    _assert_scripted_end(rig, live, streams=2)
    spoken = rig.spoken(live)
    # The conversation went on where it was; the model may take up its last answer again.
    order = [spoken.index(turn) for turn in CONVERSATION]
    assert order == sorted(order), spoken
    assert [text for _, text in spoken].count("Good morning, Harbour Dental. How can I help?") == 1
    assert spoken[-2:] == CONVERSATION[-2:]
    heard = live.said("say") + live.said("heard")
    assert heard.count(POLICY_LINE) == 1
    rows = rig.query(
        "SELECT started_ms FROM calls_turn t JOIN calls_call c ON c.id = t.call_id "
        "WHERE c.call_sid = ? ORDER BY ordinal",
        live.call_sid,
    )
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert '"child": "media", "reason": "killed by SIGKILL"' in platform.output()
    assert_no_traceback("\n".join(line for line in platform.output().splitlines()
                                  if '"process": "media"' in line))  # fmt: skip
