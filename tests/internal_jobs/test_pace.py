"""A pace forgets what is long past, and counts no further than it is told to."""

import time

from internal_jobs.pace import Pace


def test_what_just_happened_is_counted_up_to_a_limit() -> None:
    pace = Pace(60, most=3)
    assert pace.recent() == 0
    for counted in (1, 2, 3, 3):
        pace.note()
        assert pace.recent() == counted


def test_what_is_past_is_not_counted() -> None:
    pace = Pace(0.01, most=3)
    pace.note()
    deadline = time.monotonic() + 0.02
    while time.monotonic() < deadline:
        pass
    assert pace.recent() == 0
