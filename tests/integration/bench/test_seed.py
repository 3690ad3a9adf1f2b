"""The rows of the bench: what a call there is made of, as the platform itself reads it."""

from __future__ import annotations

import pytest

from bench import seed
from bench.instance import CALLER_HEAD
from calls.models import Call, PhoneNumber, PolicyWording
from calls.services.call_plan import plan_for
from calls.services.seed import instance_seed, standins_seed
from tests import factories

pytestmark = [pytest.mark.integration, pytest.mark.django_db]


@pytest.fixture
def number(monkeypatch: pytest.MonkeyPatch) -> PhoneNumber:
    """The number of the stand-ins, nobody listening where they would be.

    Django is set up here: once more would send this process's log to this test's capture for good.
    """
    monkeypatch.setattr("django.setup", lambda: None)
    instance_seed()
    return standins_seed("http://127.0.0.1:9")


def rendered() -> None:
    PolicyWording.objects.update(audio_mulaw=b"\xff" * 800)


def test_a_call_of_the_bench_has_every_feature_and_names_its_caller(
    number: PhoneNumber, capsys: pytest.CaptureFixture[str]
) -> None:
    rendered()
    assert seed.main(4001, 4002) == 0
    assert capsys.readouterr().out.split() == [number.number_e164]
    number.refresh_from_db()
    assert number.connection is not None
    assert number.connection.realtime_url == "ws://127.0.0.1:4001/v1/realtime"
    assert number.policy is not None
    assert number.policy.record_replay_audio
    call: Call = factories.make_call(
        number=number,
        connection=number.connection,
        revision=number.assistant.current_revision,
        caller=f"{CALLER_HEAD}0042",
        policy_wording=number.policy.wordings.get(),
    )
    plan = plan_for(call)
    assert plan.policy_line is not None
    assert [tool.name for tool in plan.tools] == [seed.TOOL_NAME]
    assert f"{CALLER_HEAD}0042" in plan.session.instructions


def test_without_a_rendered_policy_line_there_is_no_bench(
    number: PhoneNumber, capsys: pytest.CaptureFixture[str]
) -> None:
    assert seed.main(4001, 4002) == 1
    assert "policy line was not rendered" in capsys.readouterr().err
