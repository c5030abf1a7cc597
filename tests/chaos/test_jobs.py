"""The short form of ``make chaos``: each fault once or twice, on real processes."""

from pathlib import Path

import pytest

from tests.chaos.jobs import play


@pytest.mark.timeout(300)
async def test_no_job_is_lost_and_no_effect_is_doubled_whatever_is_killed(tmp_path: Path) -> None:
    counts = {
        "kill -9 worker": 3,
        "kill -9 valkey": 1,
        "FLUSHALL": 1,
        "valkey's disk lost": 1,
        "valkey full": 1,
        "postgres restarted": 1,
        "SIGSTOP worker": 1,
    }
    report = await play(tmp_path, jobs=100, counts=counts, seed=7, pause=1.0)
    print(f"\n{report}")
    assert report.accepted == report.asked
    assert report.passed, report
