"""The short form of ``make bench``: every figure can still be measured. What they are, a busy machine cannot say."""

from pathlib import Path

import pytest

from tests.benchmarks import apart, engine, jobs, lanes


@pytest.mark.timeout(300)
async def test_the_engine_can_be_measured(
    temporal_address: str, valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, small in (("ROUNDS", 1), ("WARM_UP", 1), ("CALLS", 2), ("TOTAL", 16), ("ITEMS", 30), ("COMPILED", 1)):
        monkeypatch.setattr(engine, name, small)
    monkeypatch.setattr(apart, "CALLS", 1)
    figures = [*await engine.run(tmp_path, temporal_address, valkey_url), engine.compiling()]
    assert len(figures) == 8
    assert all(figure.ours for figure in figures)


async def test_jobs_can_be_measured(postgres_url: str, tmp_path: Path) -> None:
    scale = jobs.Scale(rounds=1, single=32, batches=1, starts=2, flood=1_000, memory=1_000)
    figures = await jobs.run(tmp_path, postgres_url, scale)
    assert len(figures) == 9
    assert all(figure.ours for figure in figures)


async def test_both_engines_of_a_job_can_be_measured(postgres_url: str, temporal_address: str, tmp_path: Path) -> None:
    scale = lanes.Scale(rounds=1, alone=2, together=4)
    figures = await lanes.run(tmp_path, postgres_url, temporal_address, scale)
    assert len(figures) == 5
    assert all(figure.ours and figure.baseline for figure in figures)
