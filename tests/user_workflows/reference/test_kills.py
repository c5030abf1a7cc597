"""A worker process is killed at random points; what its executions come to stays as the model says."""

import random
from pathlib import Path

from tests.user_workflows.reference.kills import Aim, endure

NUMBER = 6


async def test_whenever_a_worker_is_killed_executions_end_as_the_model_says_and_effects_as_their_class_allows(
    temporal_address: str, tmp_path: Path
) -> None:
    chance = random.Random(NUMBER)
    aims = [
        Aim("idempotent", "after", chance.randint(1, 3)),
        Aim("unsafe", "after", chance.randint(1, 3)),
        Aim("read", chance.uniform(0.0, 0.3), chance.randint(1, 6)),
    ]
    report = await endure(temporal_address, tmp_path, aims, each=12, number=NUMBER)
    assert report.deaths == len(aims)
    assert {victim.aim.effect for victim in report.victims} == {"idempotent", "unsafe"}
    assert report.repeated >= 1
    assert report.unknown >= 1
    print(f"\n{report}")
