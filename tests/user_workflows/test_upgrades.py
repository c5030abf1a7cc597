"""Newer releases of the worker, under executions that wait, on a real Temporal server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionDescription

from plugins.storage.database import Database
from plugins.storage.tenants import create_tenant
from tests.servers import own_namespace
from tests.sqlite import new_sqlite
from tests.user_workflows.drawing import edges, node
from tests.user_workflows.lane import Lane, Place, open_lane
from user_workflows.builds import Builds
from user_workflows.executions.views import Execution
from user_workflows.interpreter.messages import EXECUTION, PARKED, workflow_id
from user_workflows.parking import Parker

Release = Callable[[str], AbstractAsyncContextManager[Lane]]


@pytest.fixture
async def release(temporal_address: str, store: Database, tmp_path: Path) -> Release:
    """Open a lane of a build, all of them over one store and in one namespace."""
    async with store.across.transaction() as connection:
        tenant = await create_tenant(connection, "Acme")
    place = Place(tenant.id, (await own_namespace(temporal_address))["TEMPORAL_NAMESPACE"])
    return lambda build: open_lane(store, temporal_address, tmp_path, build=build, like=place)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(new_sqlite(tmp_path / "gateway.db"))
    yield database
    await database.close()


async def described(lane: Lane, execution: Execution) -> WorkflowExecutionDescription:
    return await lane.temporal.get_workflow_handle(workflow_id(lane.tenant_id, execution.id)).describe()


async def build_of(lane: Lane, execution: Execution) -> str:
    info = (await described(lane, execution)).raw_description.workflow_execution_info
    return info.versioning_info.deployment_version.build_id


async def waiting(lane: Lane, executions: list[Execution], *ids: str) -> None:
    async with asyncio.timeout(60):
        for execution in executions:
            while {(await lane.steps(execution))[id].status for id in ids} != {"waiting"}:
                await asyncio.sleep(0.05)


async def park(lane: Lane, executions: list[Execution]) -> None:
    """Let the sweep's part come by until they are parked."""
    parker = Parker(lane.temporal, rest=timedelta(0))
    async with asyncio.timeout(60):
        for execution in executions:
            while (description := await described(lane, execution)).workflow_type != PARKED:
                await parker.ask(description)
                await asyncio.sleep(0.02)


def patient(**wait: Any) -> dict[str, Any]:
    """Draw a workflow that has done something, waits, and makes another call after that."""
    hold = node("hold", "wait")
    hold["config"] = wait
    after = node("after", "test.echo", value="{{ [nodes.before.output, input] }}", timeout="2m")
    before = node("before", "test.echo", value="{{ trigger }}")
    return {"nodes": [before, hold, after], "edges": edges("before>hold", "hold>after")}


async def test_an_upgrade_neither_strands_nor_breaks_a_hundred_waiting_executions(
    release: Release,
) -> None:
    """The old release's worker is gone before the new one's comes, as with `gateway up`."""
    async with release("1.0") as old:
        signalled = [await old.start(await old.publish(patient(signal="go")), n) for n in range(30)]
        parked = [await old.start(await old.publish(patient(signal="go", timeout="90d")), n) for n in range(30)]
        body = patient(signal="go")
        loop = node("each", "foreach", items="{{ [trigger, trigger] }}", **body)
        looping = [await old.start(await old.publish({"nodes": [loop]}), n) for n in range(10)]
        paused = [await old.start(await old.publish(patient(signal="go")), n) for n in range(10)]
        await waiting(old, [*signalled, *parked, *paused], "hold")
        for execution in paused:
            await old.controls.pause(old.tenant_id, execution.id)
        await park(old, parked)
        # Last, for their time runs, and must not be over before the old worker is gone.
        napping = [await old.start(await old.publish(patient(duration="25s")), n) for n in range(20)]
        await waiting(old, napping, "hold")
        everybody = [*signalled, *napping, *parked, *looping, *paused]
        assert len(everybody) == 100
        assert {await build_of(old, execution) for execution in everybody} == {"1.0"}
    async with release("2.0") as new:
        for execution in [*signalled, *parked, *paused]:
            await new.executions.signal(new.tenant_id, execution.id, "go", "went")
        for execution in looping:
            for _ in range(2):
                await new.executions.signal(new.tenant_id, execution.id, "go", "went")
        for execution in paused:
            await new.controls.resume(new.tenant_id, execution.id)
        for number, execution in enumerate(everybody):
            finished = await new.finish(execution)
            assert (finished.status, finished.error) == ("completed", None), number
            assert await build_of(new, execution) == "2.0"
        steps = [(await new.steps(execution))["after"].output for execution in [*signalled, *napping, *parked]]
        assert steps == [
            *([n, "went"] for n in range(30)),
            *([n, n] for n in range(20)),
            *([n, "went"] for n in range(30)),
        ]


async def test_what_is_parked_holds_no_build_back_and_wakes_on_the_current_one(
    release: Release,
) -> None:
    """Through three releases; what it was told on the way is there at the end."""
    drawn = patient(signal="go", timeout="90d")
    async with release("1.0") as old:
        execution = await old.start(await old.publish(drawn), "a")
        await waiting(old, [execution], "hold")
        await park(old, [execution])
        assert (await old.steps(execution))["hold"].status == "waiting"
    async with release("2.0") as middle:
        await middle.executions.signal(middle.tenant_id, execution.id, "noise")
        async with asyncio.timeout(60):
            while (await described(middle, execution)).workflow_type != EXECUTION:
                await asyncio.sleep(0.05)
        await park(middle, [execution])
    async with release("3.0") as new:
        await new.executions.signal(new.tenant_id, execution.id, "go", 5)
        finished = await new.finish(execution)
        assert finished.output == {"after": ["a", 5]}
        assert await build_of(new, execution) == "3.0"


async def test_a_run_stays_on_its_build_as_long_as_that_has_workers(
    release: Release,
) -> None:
    async with release("1.0") as old:
        execution = await old.start(await old.publish(patient(signal="go")), "a")
        await waiting(old, [execution], "hold")
        cautious = Builds(old.temporal, "2.0")
        hasty = Builds(old.temporal, "2.0", gone_after=timedelta(0))
        assert not await cautious.move(await described(old, execution))
        # Of a build that nobody has seen yet nothing becomes current, and nothing is moved there.
        assert not await hasty.move(await described(old, execution))
        assert await build_of(old, execution) == "1.0"
    async with release("2.0") as new:
        async with asyncio.timeout(60):
            while not await is_moving(new, execution):
                await asyncio.sleep(0.1)
        await new.executions.signal(new.tenant_id, execution.id, "go", 5)
        assert (await new.finish(execution)).output == {"after": ["a", 5]}


async def is_moving(lane: Lane, execution: Execution) -> bool:
    """Whether the sweep of the lane's worker has come by."""
    info = (await described(lane, execution)).raw_description.workflow_execution_info.versioning_info
    return info.versioning_override.one_time.target_deployment_version.build_id == "2.0"


async def test_an_old_worker_that_starts_again_does_not_undo_a_rollout(
    release: Release,
) -> None:
    async with release("1.0") as lane:
        async with asyncio.timeout(60):
            assert await Builds(lane.temporal, "1.0").become_current()
    async with release("2.0") as lane:
        async with asyncio.timeout(60):
            assert await Builds(lane.temporal, "2.0").become_current()
            assert not await Builds(lane.temporal, "1.0").become_current()
            # Without workers of the newer one it takes over again.
            assert await Builds(lane.temporal, "1.0", gone_after=timedelta(0)).become_current()
