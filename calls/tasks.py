"""Celery's doors into the services. Tasks are idempotent and take primary keys only."""

from __future__ import annotations

import asyncio

from celery import shared_task
from django.utils import timezone

from calls.events.delivery import drain
from calls.services import (
    analysis,
    analysis_run,
    call_logs,
    erasure_jobs,
    leaving_jobs,
    move_bell,
    net_drills,
    net_facts,
    net_probes,
    parity_playing,
    past_recordings,
    readiness,
    reconciler,
    recordings,
    redelivery,
    restore_jobs,
    shadow_runs,
    silent_calls,
    status_forward,
    tool_check,
    tool_shims,
    voice_sample,
)
from calls.services.call_finish import stale_calls_close
from calls.services.call_handover import answers_forget
from calls.services.clip_render import clips_work
from calls.services.cost_forecasts import forecasts_check
from calls.services.guardrail_proposals import guardrails_settle
from calls.services.leaving import departures_remind
from calls.services.model_watch import models_look
from calls.services.number_moves import moves_continue
from calls.services.plan_ticks import plans_tick
from calls.services.recording_work import recordings_work
from calls.services.reports import overdue_reports_enqueue
from calls.services.retention import retention_run
from calls.services.said_words import words_index
from calls.services.tool_records import invocations_adopt
from calls.services.wording import wordings_render_missing


@shared_task(name="calls.tasks.drain_outbox")
def drain_outbox() -> int:
    """Deliver what is due."""
    return asyncio.run(drain())


@shared_task(
    name=analysis.TASK,
    soft_time_limit=analysis_run.SOFT_LIMIT_SECONDS,
    time_limit=analysis_run.SOFT_LIMIT_SECONDS + 60,
)
def analyse_calls() -> int:
    """Have a model read calls that ended, or nothing while another worker does."""
    return analysis_run.analyses_work()


@shared_task(name=status_forward.TASK, soft_time_limit=240, time_limit=300)
def forward_status() -> int:
    """Pass messages of calls that are over on to the stack that had them."""
    return status_forward.statuses_forward()


@shared_task(name="calls.tasks.send_overdue_reports")
def send_overdue_reports() -> int:
    """Send reports whose media process never said its last word."""
    return overdue_reports_enqueue()


@shared_task(name="calls.tasks.sweep_stale_calls")
def sweep_stale_calls() -> int:
    """Close calls that nobody closed, and complete what older versions wrote of others."""
    invocations_adopt()
    closed = stale_calls_close()
    answers_forget()
    return closed


@shared_task(name="calls.tasks.close_silent_calls")
def close_silent_calls() -> int:
    """Close calls whose media process is gone and that Twilio says are over."""
    return silent_calls.silent_calls_close()


@shared_task(name="calls.tasks.compare_with_carrier")
def compare_with_carrier() -> int:
    """Compare the last day's calls with Twilio's list, and with the outbox."""
    return reconciler.reconcile()


@shared_task(name="calls.tasks.render_wordings")
def render_wordings() -> int:
    """Render policy lines that have no audio yet."""
    return wordings_render_missing()


@shared_task(name="calls.tasks.render_clips")
def render_clips() -> int:
    """Render greetings, fillers and apologies that calls are to find."""
    return clips_work()


@shared_task(name=voice_sample.TASK)
def render_voice_samples(job_id: str) -> None:
    """Render the samples that somebody waits to hear, or nothing when another worker does."""
    voice_sample.samples_render(job_id)


@shared_task(name="calls.tasks.take_voice_samples")
def take_voice_samples() -> int:
    """Tell a worker of samples that lost theirs."""
    return voice_sample.BELL.poke_waiting()


@shared_task(name="calls.tasks.look_at_models")
def look_at_models() -> int:
    """Ask each provider once a day whether it still lists the models in use."""
    return models_look()


@shared_task(
    name=tool_check.TASK,
    soft_time_limit=tool_check.SOFT_LIMIT_SECONDS,
    time_limit=tool_check.SOFT_LIMIT_SECONDS + 60,
)
def run_tool_check(job_id: str) -> None:
    """Ask the tool servers of a check, or nothing when another worker does."""
    tool_check.check_run(job_id)


@shared_task(name="calls.tasks.take_tool_checks")
def take_tool_checks() -> int:
    """Tell a worker of checks that lost theirs."""
    return tool_check.BELL.poke_waiting()


@shared_task(name=redelivery.TASK)
def run_redelivery(job_id: str) -> None:
    """Make many events due again, or nothing when another worker does."""
    redelivery.redelivery_run(job_id)


@shared_task(name="calls.tasks.take_redeliveries")
def take_redeliveries() -> int:
    """Tell a worker of redeliveries that lost theirs."""
    return redelivery.BELL.poke_waiting()


@shared_task(name="calls.tasks.index_said_words")
def index_said_words() -> int:
    """Let what was said be found."""
    return words_index()


@shared_task(name=recordings.TASK, soft_time_limit=15 * 60, time_limit=16 * 60)
def work_recordings() -> int:
    """Begin, fetch and delete recordings."""
    return recordings_work()


@shared_task(name="calls.tasks.run_retention")
def run_retention() -> int:
    """Take away what has been kept long enough."""
    return retention_run()


@shared_task(
    name=erasure_jobs.TASK,
    soft_time_limit=erasure_jobs.SOFT_LIMIT_SECONDS,
    time_limit=erasure_jobs.SOFT_LIMIT_SECONDS + 60,
)
def run_erasure(job_id: str) -> None:
    """Erase a caller, or nothing when another worker does."""
    erasure_jobs.erasure_run(job_id)


@shared_task(name="calls.tasks.take_erasures")
def take_erasures() -> int:
    """Tell a worker of erasures that lost theirs."""
    return erasure_jobs.BELL.poke_waiting()


@shared_task(
    name=move_bell.TASK,
    soft_time_limit=move_bell.SOFT_LIMIT_SECONDS,
    time_limit=move_bell.SOFT_LIMIT_SECONDS + 30,
)
def continue_moves() -> int:
    """Carry on the moves of numbers whose time has come, or nothing while others do."""
    return moves_continue()


@shared_task(
    name=restore_jobs.TASK,
    soft_time_limit=restore_jobs.SOFT_LIMIT_SECONDS,
    time_limit=restore_jobs.SOFT_LIMIT_SECONDS + 60,
)
def restore_numbers(job_id: str) -> None:
    """Put all numbers of an organisation back, or nothing when another worker does."""
    restore_jobs.restores_run(job_id)


@shared_task(name="calls.tasks.take_restores")
def take_restores() -> int:
    """Tell a worker of restores of all numbers that lost theirs."""
    return restore_jobs.BELL.poke_waiting()


@shared_task(
    name=readiness.TASK,
    soft_time_limit=readiness.SOFT_LIMIT_SECONDS,
    time_limit=readiness.SOFT_LIMIT_SECONDS + 60,
)
def run_readiness(job_id: str) -> None:
    """Check which numbers are ready, or nothing when another worker does."""
    readiness.readiness_run(job_id)


@shared_task(name="calls.tasks.take_readiness")
def take_readiness() -> int:
    """Begin the daily checks that are due, and tell a worker of those that lost theirs."""
    readiness.readiness_daily()
    return readiness.BELL.poke_waiting()


@shared_task(
    name=net_probes.TASK,
    soft_time_limit=net_probes.SOFT_LIMIT_SECONDS,
    time_limit=net_probes.SOFT_LIMIT_SECONDS + 30,
)
def look_at_nets() -> int:
    """Compare the nets whose time has come with Twilio."""
    return net_probes.nets_probe()


@shared_task(name="calls.tasks.learn_of_nets", soft_time_limit=120, time_limit=150)
def learn_of_nets() -> int:
    """Write down which nets callers needed."""
    return net_facts.nets_learn()


@shared_task(
    name=net_drills.TASK,
    soft_time_limit=net_drills.SOFT_LIMIT_SECONDS,
    time_limit=net_drills.SOFT_LIMIT_SECONDS + 30,
)
def run_net_drill(job_id: str) -> None:
    """Fire the net of a test number, or nothing when another worker does."""
    net_drills.drill_run(job_id)


@shared_task(name="calls.tasks.take_net_drills")
def take_net_drills() -> int:
    """Tell a worker of drills that lost theirs."""
    return net_drills.BELL.poke_waiting()


@shared_task(name="calls.tasks.tick_plans", soft_time_limit=60, time_limit=90)
def tick_plans() -> int:
    """Let running plans take their next step."""
    return plans_tick()


@shared_task(
    name=leaving_jobs.TASK,
    soft_time_limit=leaving_jobs.SOFT_LIMIT_SECONDS,
    time_limit=leaving_jobs.SOFT_LIMIT_SECONDS + 60,
)
def run_leaving(job_id: str) -> None:
    """Do one step of leaving Vapi, or nothing when another worker does."""
    leaving_jobs.step_run(job_id)


@shared_task(name="calls.tasks.take_leaving")
def take_leaving() -> int:
    """Tell a worker of steps that lost theirs, and people of what is overdue."""
    departures_remind(timezone.now())
    return leaving_jobs.BELL.poke_waiting()


@shared_task(
    name=call_logs.TASK,
    soft_time_limit=call_logs.SOFT_LIMIT_SECONDS,
    time_limit=call_logs.SOFT_LIMIT_SECONDS + 60,
)
def run_call_logs(job_id: str) -> None:
    """Import call logs, or do nothing when another worker does."""
    call_logs.import_job_run(job_id)


@shared_task(name="calls.tasks.take_call_logs")
def take_call_logs() -> int:
    """Tell a worker of imports that lost theirs; let go of uploads that nobody will read."""
    call_logs.uploads_drop()
    return call_logs.BELL.poke_waiting() + past_recordings.BELL.poke_waiting()


@shared_task(
    name=parity_playing.TASK,
    soft_time_limit=parity_playing.SOFT_LIMIT_SECONDS,
    time_limit=parity_playing.SOFT_LIMIT_SECONDS + 120,
)
def play_parity_run(job_id: str) -> None:
    """Play what is left of a parity run, or nothing when another worker does."""
    parity_playing.run_play(job_id)


@shared_task(name="calls.tasks.take_parity_runs")
def take_parity_runs() -> int:
    """Tell a worker of parity runs that lost theirs, end others, and tend those that hear along."""
    parity_playing.runs_settle()
    shadow_runs.shadows_tend()
    return parity_playing.BELL.poke_waiting()


@shared_task(
    name=past_recordings.TASK,
    soft_time_limit=past_recordings.SOFT_LIMIT_SECONDS,
    time_limit=past_recordings.SOFT_LIMIT_SECONDS + 60,
)
def run_past_recordings(job_id: str) -> None:
    """Fetch recordings of past calls, or do nothing when another worker does."""
    past_recordings.fetch_job_run(job_id)


@shared_task(name="calls.tasks.drain_shims")
def drain_shims() -> int:
    """Make what came through recording addresses part of its calls."""
    return tool_shims.records_drain()


@shared_task(name="calls.tasks.settle_forecasts", soft_time_limit=240, time_limit=300)
def settle_forecasts() -> int:
    """Set forecasts against real calls, and judge instructions whose verification has ended."""
    return forecasts_check() + guardrails_settle()
