"""The Celery application, its beat schedule and the life of its pool processes. Wiring only."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, celeryd_init, setup_logging, worker_process_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "voiceplatform.settings")

app = Celery("voiceplatform")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.conf.beat_schedule = {
    # A lost poke costs at most this much latency, never an event.
    "drain outbox": {"task": "calls.tasks.drain_outbox", "schedule": 5.0},
    "analyse calls": {"task": "calls.tasks.analyse_calls", "schedule": 5.0},
    "send overdue reports": {"task": "calls.tasks.send_overdue_reports", "schedule": 10.0},
    "forward status": {"task": "calls.tasks.forward_status", "schedule": 10.0},
    "index said words": {"task": "calls.tasks.index_said_words", "schedule": 10.0},
    "render wordings": {"task": "calls.tasks.render_wordings", "schedule": 10.0},
    "render clips": {"task": "calls.tasks.render_clips", "schedule": 10.0},
    "take voice samples": {"task": "calls.tasks.take_voice_samples", "schedule": 20.0},
    # With a silence of 15 s: a call whose process died is closed within 30 s.
    "close silent calls": {"task": "calls.tasks.close_silent_calls", "schedule": 10.0},
    "compare with carrier": {"task": "calls.tasks.compare_with_carrier", "schedule": 180.0},
    "sweep stale calls": {"task": "calls.tasks.sweep_stale_calls", "schedule": 60.0},
    # Once a day; asked more often, so that a machine that slept looks when it wakes.
    "look at models": {"task": "calls.tasks.look_at_models", "schedule": 600.0},
    "take tool checks": {"task": "calls.tasks.take_tool_checks", "schedule": 20.0},
    "take redeliveries": {"task": "calls.tasks.take_redeliveries", "schedule": 20.0},
    "read files": {"task": "assistants.tasks.read_files", "schedule": 10.0},
    # Each number once a night; asked more often for those that were moved or changed since.
    "look at nets": {"task": "calls.tasks.look_at_nets", "schedule": 60.0},
    "learn of nets": {"task": "calls.tasks.learn_of_nets", "schedule": 180.0},
    "take net drills": {"task": "calls.tasks.take_net_drills", "schedule": 20.0},
    "continue moves": {"task": "calls.tasks.continue_moves", "schedule": 5.0},
    "take restores": {"task": "calls.tasks.take_restores", "schedule": 10.0},
    "take erasures": {"task": "calls.tasks.take_erasures", "schedule": 20.0},
    "take leaving": {"task": "calls.tasks.take_leaving", "schedule": 20.0},
    "take call logs": {"task": "calls.tasks.take_call_logs", "schedule": 20.0},
    "take parity runs": {"task": "calls.tasks.take_parity_runs", "schedule": 10.0},
    "drain shims": {"task": "calls.tasks.drain_shims", "schedule": 10.0},
    "take readiness": {"task": "calls.tasks.take_readiness", "schedule": 20.0},
    "work recordings": {"task": "calls.tasks.work_recordings", "schedule": 10.0},
    "run retention": {"task": "calls.tasks.run_retention", "schedule": 600.0},
    "settle forecasts": {"task": "calls.tasks.settle_forecasts", "schedule": 300.0},
    "tick plans": {"task": "calls.tasks.tick_plans", "schedule": 30.0},
    "take import jobs": {"task": "assistants.tasks.take_import_jobs", "schedule": 10.0},
}


@setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Django's setup has configured logging already; being connected stops Celery's own."""


@celeryd_init.connect
def _name_worker(**_: Any) -> None:
    from voiceplatform.logconf import set_process

    set_process("worker")


@beat_init.connect
def _name_beat(**_: Any) -> None:
    from voiceplatform.logconf import set_process

    set_process("beat")


@worker_process_init.connect
def _die_with_the_worker(**_: Any) -> None:
    """Tie a pool process to the worker that forked it: nobody else would end it after a kill -9."""
    from billiard.process import current_process

    from voiceplatform.supervisor.parent_death import die_with_parent

    die_with_parent(current_process()._parent_pid)  # type: ignore[attr-defined]  # set by billiard
