"""When schedules fire: through changes of the clocks, with jitter, and after an outage."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest

from internal_jobs.cron import cron_firings
from internal_jobs.errors import InvalidSchedule
from internal_jobs.jobs import JobRequest
from internal_jobs.schedules.model import ScheduleRequest
from internal_jobs.schedules.times import BATCH, MOST_MADE_UP, Timing, firing_id, look, timing_of

AT = datetime(2026, 1, 1, tzinfo=UTC)
ID = "sch_01jd3x0v7k8m5qf2c9hz6w4t1b"


def timing(**spec: object) -> Timing:
    request = ScheduleRequest(**{"name": "x", "job": JobRequest(type="crew.echo"), **spec})  # type: ignore[arg-type]
    return timing_of(ID, AT, request)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


def firings(cron: str, timezone: str, after: datetime, count: int) -> list[datetime]:
    return list(islice(cron_firings(cron, timezone, after), count))


def test_a_daily_time_keeps_its_hour_on_the_wall_through_both_changes_of_the_clocks() -> None:
    assert firings("0 9 * * *", "America/New_York", utc(2026, 3, 6, 15), 3) == [
        utc(2026, 3, 7, 14),
        utc(2026, 3, 8, 13),
        utc(2026, 3, 9, 13),
    ]
    assert firings("0 9 * * *", "America/New_York", utc(2026, 10, 30, 15), 3) == [
        utc(2026, 10, 31, 13),
        utc(2026, 11, 1, 14),
        utc(2026, 11, 2, 14),
    ]


def test_what_falls_into_the_hour_that_is_skipped_fires_once_right_after_it() -> None:
    """On 8 March 2026 the clocks of New York go from 02:00 to 03:00, which is 07:00 in UTC."""
    assert firings("30 2 * * *", "America/New_York", utc(2026, 3, 7, 12), 2) == [
        utc(2026, 3, 8, 7),
        utc(2026, 3, 9, 6, 30),
    ]


@pytest.mark.parametrize("after", [utc(2026, 10, 31, 12), utc(2026, 11, 1, 5, 15)])
def test_what_falls_into_the_hour_that_comes_twice_fires_once(after: datetime) -> None:
    """On 1 November 2026 01:30 comes twice in New York, at 05:30 and 06:30 in UTC."""
    assert firings("30 1 * * *", "America/New_York", after, 2) == [utc(2026, 11, 1, 5, 30), utc(2026, 11, 2, 6, 30)]


def test_between_the_two_passes_of_an_hour_nothing_fires_in_the_past() -> None:
    for after in (utc(2026, 11, 1, 5, 30), utc(2026, 11, 1, 6, 10), utc(2026, 11, 1, 6, 40)):
        assert firings("30 1 * * *", "America/New_York", after, 1) == [utc(2026, 11, 2, 6, 30)]


def test_every_half_hour_goes_by_the_time_that_passes() -> None:
    for after in (utc(2026, 3, 8, 5), utc(2026, 11, 1, 4)):
        times = firings("*/30 * * * *", "America/New_York", after, 10)
        assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(minutes=30)}


def test_an_interval_is_counted_from_its_anchor() -> None:
    every = timing(every="7m")
    assert list(islice(every.firings(AT), 2)) == [AT + timedelta(minutes=7), AT + timedelta(minutes=14)]
    assert next(every.firings(AT + timedelta(minutes=13, seconds=59))) == AT + timedelta(minutes=14)
    later = timing(every="7m", start_at=AT + timedelta(days=1))
    assert next(later.firings(AT)) == AT + timedelta(days=1)


def test_jitter_is_each_firings_own_and_the_same_for_every_scheduler() -> None:
    spread = timing(every="1h", jitter="10m")
    delays = [spread.due(time) - time for time in islice(spread.firings(AT), 200)]
    assert all(timedelta() <= delay < timedelta(minutes=10) for delay in delays)
    assert len(set(delays)) > 190
    assert max(delays) - min(delays) > timedelta(minutes=8)
    assert delays == [timing(every="1h", jitter="10m").due(time) - time for time in islice(spread.firings(AT), 200)]


def test_nothing_is_decided_before_it_is_due() -> None:
    first = AT + timedelta(hours=1)
    early = look(timing(every="1h"), first, first - timedelta(seconds=1))
    assert (early.firing, early.missed, early.following) == ((), None, first)
    on_time = look(timing(every="1h"), first, first)
    assert (on_time.firing, on_time.missed, on_time.following) == ((first,), None, first + timedelta(hours=1))


def test_after_an_outage_the_latest_firing_that_is_not_too_late_is_made_up_for() -> None:
    first, present = AT + timedelta(minutes=1), AT + timedelta(hours=3, seconds=30)
    outlook = look(timing(every="1m", catch_up="10m"), first, present)
    assert outlook.firing == (AT + timedelta(hours=3),)
    assert outlook.missed == first
    assert outlook.following == AT + timedelta(hours=3, minutes=1)


def test_or_all_of_them() -> None:
    first, present = AT + timedelta(minutes=1), AT + timedelta(hours=3, seconds=30)
    outlook = look(timing(every="1m", catch_up="10m", missed="all"), first, present)
    assert outlook.firing == tuple(AT + timedelta(hours=2, minutes=51 + number) for number in range(10))
    assert outlook.missed == first
    assert outlook.following == AT + timedelta(hours=3, minutes=1)


def test_what_is_too_late_is_not_made_up_for() -> None:
    first = AT + timedelta(days=1)
    outlook = look(timing(every="1d", catch_up="10m"), first, first + timedelta(minutes=11))
    assert (outlook.firing, outlook.missed, outlook.following) == ((), first, first + timedelta(days=1))
    prompt = look(timing(every="1d", catch_up="0s"), first, first + timedelta(seconds=9))
    assert prompt.firing == (first,)


def test_a_long_outage_is_made_up_for_in_pieces_and_within_bounds() -> None:
    every = timing(every="1s", catch_up="30d", missed="all")
    present = AT + timedelta(days=20)
    made: list[datetime] = []
    coming: datetime | None = AT + timedelta(seconds=1)
    while coming is not None and coming <= present:
        outlook = look(every, coming, present)
        assert len(outlook.firing) <= BATCH
        made += outlook.firing
        coming = outlook.following
    assert len(made) == len(set(made)) == MOST_MADE_UP + 1
    assert made[-1] == present


def test_a_jitter_is_no_lateness() -> None:
    spread = timing(cron="0 0 * * *", jitter="5h", catch_up="10m")
    nominal = next(spread.firings(AT))
    outlook = look(spread, nominal, spread.due(nominal) + timedelta(seconds=1))
    assert outlook.firing == (nominal,)


def test_a_firing_has_one_id_and_ids_sort_by_time() -> None:
    ids = [firing_id(ID, AT + timedelta(seconds=number)) for number in range(50)]
    assert ids == sorted(set(ids))
    assert ids[3] == firing_id(ID, AT + timedelta(seconds=3))
    assert ids[3] != firing_id("sch_01jd3x0v7k8m5qf2c9hz6w4t1c", AT + timedelta(seconds=3))


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        ({}, "/cron"),
        ({"cron": "* * * * *", "every": "1m"}, "/cron"),
        ({"cron": "* * * *"}, "/cron"),
        ({"cron": "0 0 30 2 *"}, "/cron"),
        ({"cron": "0 0 L * *"}, "/cron"),
        ({"cron": "0 0 * * *", "timezone": "america/new_york"}, "/timezone"),
        ({"cron": "0 0 * * *", "start_at": AT}, "/startAt"),
        ({"every": "10ms"}, "/every"),
        ({"every": "999d"}, "/every"),
        ({"every": "1m", "jitter": "2m"}, "/jitter"),
        ({"every": "1m", "catch_up": "31d"}, "/catchUp"),
    ],
)
def test_what_cannot_be_kept_is_refused_where_it_stands(spec: dict[str, object], pointer: str) -> None:
    with pytest.raises(InvalidSchedule) as refused:
        timing(**spec)
    assert refused.value.pointer == pointer
