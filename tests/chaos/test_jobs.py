"""The short form of ``make chaos``: each fault once or twice, on real processes."""

from pathlib import Path

import pytest

from plugins.storage.database import Database
from tests.chaos.jobs import play


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_no_job_is_lost_and_no_effect_is_doubled_whatever_is_killed(database: Database, tmp_path: Path) -> None:
    counts = {"kill -9 worker": 3, "kill -9 valkey": 1, "FLUSHALL": 1, "SIGSTOP worker": 1}
    report = await play(database, tmp_path, jobs=200, counts=counts, seed=7, pause=1.0)
    print(f"\n{report}")
    assert report.accepted == 200
    assert report.passed, report
