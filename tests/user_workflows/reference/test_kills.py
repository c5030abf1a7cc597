"""A worker process is killed at random points; what its executions come to stays as the model says."""

import random
from pathlib import Path

from tests.user_workflows.drawing import edges, node
from tests.user_workflows.reference.drawings import CHEAP
from tests.user_workflows.reference.kills import Aim, endure, open_ordeal
from user_workflows.interpreter.activity_walks import MOST_LOSSES

NUMBER = 6


async def test_whenever_a_worker_is_killed_executions_end_as_the_model_says_and_effects_as_their_class_allows(
    temporal_address: str, tmp_path: Path
) -> None:
    chance = random.Random(NUMBER)
    aims = [
        Aim("idempotent", "after", chance.randint(1, 3)),
        Aim("unsafe", "after", chance.randint(1, 3)),
        Aim("read", chance.uniform(0.0, 0.3), chance.randint(1, 6)),
        Aim("read", "backingOff", chance.randint(1, 6)),
        Aim("idempotent", "backingOff", chance.randint(1, 3)),
        Aim("unsafe", "backingOff", chance.randint(1, 3)),
    ]
    report = await endure(temporal_address, tmp_path, aims, each=8, number=NUMBER)
    assert report.deaths == len(aims)
    assert {victim.aim.effect for victim in report.victims} == {"read", "idempotent", "unsafe"}
    assert report.backed_off >= 5
    assert report.repeated >= 1
    assert report.unknown >= 1
    print(f"\n{report}")


async def test_a_step_that_kills_its_worker_does_so_a_few_times_and_then_fails_alone(
    temporal_address: str, tmp_path: Path
) -> None:
    """Once in the local activity, which counts no attempts; from then on every step of the segment comes back alone."""
    definition = {
        "nodes": [
            node("before", CHEAP, value=1),
            node("deadly", CHEAP, value="boom", onError="continue"),
            node("after", CHEAP, value="{{ nodes.deadly.error.type }}"),
        ],
        "edges": edges("before>deadly", "deadly>after"),
    }
    async with open_ordeal(temporal_address, tmp_path, NUMBER, heartbeat_timeout=4.0) as ordeal:
        ordeal.killer.deadly = "boom"
        execution = await ordeal.lane.start(await ordeal.lane.publish(definition))
        ended = await ordeal.live_on(execution)
        steps = await ordeal.lane.steps(execution)
    assert ended.status == "completed"
    assert [step.status for step in steps.values()] == ["completed", "failed", "completed"]
    error = steps["deadly"].error
    assert error is not None
    assert (error.type, error.attempts) == ("step.lost", MOST_LOSSES)
    assert "worker was lost" in error.message
    assert ordeal.killer.deaths == 1 + MOST_LOSSES


async def test_an_item_that_kills_its_worker_ends_its_batch_after_a_few(temporal_address: str, tmp_path: Path) -> None:
    """A batch is walked again as a whole, and so it fails as a whole, by the `onError` of its loop."""
    body = [node("in", CHEAP, value="{{ item }}")]
    definition = {"nodes": [node("each", "foreach", items=["a", "boom"], nodes=body, edges=[], onError="continue")]}
    async with open_ordeal(temporal_address, tmp_path, NUMBER, heartbeat_timeout=4.0) as ordeal:
        ordeal.killer.deadly = "boom"
        execution = await ordeal.lane.start(await ordeal.lane.publish(definition))
        ended = await ordeal.live_on(execution)
        steps = await ordeal.lane.steps(execution)
    assert (ended.status, steps["each"].status) == ("completed", "failed")
    error = steps["each"].error
    assert error is not None
    assert (error.type, error.attempts) == ("step.lost", MOST_LOSSES)
    assert error.message.startswith("items 0 to 1: the step's worker was lost")
    assert ordeal.killer.deaths == MOST_LOSSES
