"""When a plan may move something by the clock: freeze days and quiet hours on the wall of its zone.

Pure. The rules of the clock: a moment is judged by what the wall shows then. So a quiet hour that a
change to summer time leaves out does not happen, the rest of its span does; an hour that comes
twice in autumn is quiet both times; a day has 23 or 25 hours and is one day. How long something
lasts (a soak) is real time and owned elsewhere.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from zoneinfo import ZoneInfo

from calls.numbers.hours import DAY_MINUTES, Span, zone_of
from calls.numbers.plan import Plan

MOST_DAYS = 400
_DAY = dt.timedelta(days=1)


def zone(plan: Plan) -> ZoneInfo:
    """Return the plan's zone."""
    found = zone_of(plan.zone)
    assert found is not None, "a plan with an unknown zone cannot be made"
    return found


def local_date(plan: Plan, now: dt.datetime) -> dt.date:
    """Return the date on the plan's wall; ``now`` is aware."""
    return now.astimezone(zone(plan)).date()


def closed_by(plan: Plan, now: dt.datetime) -> str:
    """Return why nothing may move at ``now`` (aware), '' when something may."""
    local = now.astimezone(zone(plan))
    today, minute = local.date(), local.hour * 60 + local.minute
    if today in plan.freeze_days:
        return f"{today} is a freeze day"
    yesterday = today - _DAY
    for span in plan.quiet[yesterday.weekday()]:
        if span.crosses_midnight and minute < span.end:
            return f"quiet hours since yesterday, {span.text()} in {plan.zone}"
    for span in plan.quiet[today.weekday()]:
        if minute >= span.start and (span.crosses_midnight or minute < span.end):
            return f"quiet hours, {span.text()} in {plan.zone}"
    return ""


def quiet_outside(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """Return what is left of a day beside ``spans``, which are in order and within the day."""
    quiet: list[Span] = []
    begin = 0
    for span in spans:
        if span.start > begin:
            quiet.append(Span(begin, span.start))
        begin = span.end
    if begin < DAY_MINUTES:
        quiet.append(Span(begin, DAY_MINUTES))
    return tuple(quiet)


def next_open(plan: Plan, now: dt.datetime) -> dt.datetime | None:
    """Return the first moment from ``now`` on at which something may move, in UTC.

    None: not within ``MOST_DAYS`` days, so probably never.
    """
    if not closed_by(plan, now):
        return now.astimezone(dt.UTC)
    first = local_date(plan, now)
    for index in range(MOST_DAYS):
        for moment in boundaries(plan, first + index * _DAY):
            if moment > now and not closed_by(plan, moment):
                return moment
    return None


def boundaries(plan: Plan, day: dt.date) -> list[dt.datetime]:
    """Return the moments of a local day at which being closed can change, in UTC, in order.

    Its first moment, the ends of spans, and a change of the clock.
    """
    tz = zone(plan)
    spans = (*plan.quiet[(day - _DAY).weekday()], *plan.quiet[day.weekday()])
    minutes = {0, *(span.end % DAY_MINUTES for span in spans), *(span.start for span in spans)}
    found = {
        dt.datetime.combine(day, dt.time(minute // 60, minute % 60), tz)
        .replace(fold=fold)
        .astimezone(dt.UTC)
        for minute in minutes
        for fold in (0, 1)
    }
    found.update(moment for moment, _ in clock_changes(plan, day))
    return sorted(found)


def clock_changes(plan: Plan, day: dt.date) -> Iterator[tuple[dt.datetime, dt.timedelta]]:
    """Yield the moments of a local day at which its clock is put on or back, and by how much."""
    tz = zone(plan)
    first = dt.datetime.combine(day, dt.time(), tz).astimezone(dt.UTC)
    last = dt.datetime.combine(day + _DAY, dt.time(), tz).astimezone(dt.UTC)
    # From a second before: some zones put the clock on at midnight, and 0:00 is left out.
    moment = first - dt.timedelta(seconds=1)
    while moment < last:
        after = min(moment + dt.timedelta(hours=1), last)
        by = _offset(tz, after) - _offset(tz, moment)
        if by:
            low, high = moment, after
            while high - low > dt.timedelta(seconds=1):
                middle = low + (high - low) // 2
                middle = middle.replace(microsecond=0)
                if _offset(tz, middle) == _offset(tz, moment):
                    low = middle
                else:
                    high = middle
            if high < last:
                yield high, by
        moment = after


def _offset(tz: ZoneInfo, moment: dt.datetime) -> dt.timedelta:
    offset = moment.astimezone(tz).utcoffset()
    assert offset is not None, "a zone always has an offset"
    return offset
