"""One definition run twice on a real Temporal server: walked by the interpreter, and by the code written for it."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import select

from tests.user_workflows.lane import Lane
from user_workflows.codegen.export import export_python
from user_workflows.codegen.load import load_modules
from user_workflows.executions.starts import Starts
from user_workflows.executions.tables import step_place, steps
from user_workflows.executions.views import Execution
from user_workflows.fairness.intake import Contention
from user_workflows.generated.types import generated_type
from user_workflows.interpreter.messages import TriggerCall, workflow_id
from user_workflows.records.writer import RecordWriter
from user_workflows.worker import generated_worker

#: sees an execution through to its end
SeeThrough = Callable[[Execution], Awaitable[Execution]]

#: what differs from one execution to the next: ids, and moments
_OWN = re.compile(r"(?:ex|apl?|job)_[0-9a-z]{20,}|<[^<>@ ]+@[^<> ]+>|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[0-9.:Z+]*")


class Pair:
    """Runs definitions in both ways, in one lane.

    Args:
        lane: whose worker interprets, and makes the calls of both.
        folder: for the modules.
        starts: starts what has been written.
        written: types of what has been written; it is added to.
        records: of what has been written.
    """

    def __init__(self, lane: Lane, folder: Path, starts: Starts, written: set[str], records: RecordWriter) -> None:
        self.lane = lane
        self._folder = folder
        self._starts = starts
        self._written = written
        self._records = records

    async def publish(self, definition: dict[str, Any]) -> tuple[str, Path]:
        """Publish a definition, and return the workflow's id and the module written for it."""
        id = await self.lane.publish(definition)
        published = await self.lane.workflows.plan(self.lane.tenant_id, id)
        name = published.definition.name
        file = self._folder / f"{id}.py"
        text = export_python(published.plan, workflow_id=id, version=published.version, name=name)
        file.write_text(text, encoding="utf-8")
        return id, file

    @asynccontextmanager
    async def serving(self, *files: Path, forgetful: bool = False) -> AsyncIterator[None]:
        """Serve modules, each on its task queue; a forgetful worker replays an execution whenever it goes on."""
        cached = 0 if forgetful else 1_000
        async with AsyncExitStack() as workers:
            for generated in load_modules(files):
                worker = generated_worker(
                    self.lane.temporal,
                    self._records,
                    self.lane.approvals,
                    generated,
                    cached=cached,
                    contention=Contention(),
                )
                await workers.enter_async_context(worker)
            yield

    async def interpreted(self, id: str, input: Any, see_through: SeeThrough | None = None) -> Any:
        """Run a published workflow as the interpreter walks it, and return what it comes to."""
        execution = await self._run(self.lane.starts, id, input, see_through)
        assert await self._type_of(execution.id) == "execution"
        return await self._outcome(execution)

    async def generated(self, id: str, input: Any, see_through: SeeThrough | None = None) -> Any:
        """Run a published workflow by the code written for it, which is served."""
        self._written.add(generated_type(id, 1))
        execution = await self._run(self._starts, id, input, see_through)
        return await self._outcome(execution)

    async def _run(self, starts: Starts, id: str, input: Any, see_through: SeeThrough | None) -> Execution:
        lane = self.lane
        trigger = TriggerCall(type="manual", payload=input)
        execution_id = await starts.start(lane.tenant_id, id, trigger=trigger)
        if starts is self._starts:
            assert await self._type_of(execution_id) == generated_type(id, 1)
        execution = await lane.executions.get(lane.tenant_id, execution_id)
        return await (see_through or lane.finish)(execution)

    async def _type_of(self, execution_id: str) -> str:
        handle = self.lane.temporal.get_workflow_handle(workflow_id(self.lane.tenant_id, execution_id))
        return (await handle.describe()).workflow_type

    async def _outcome(self, execution: Execution) -> Any:
        """Return all that must be equal: status, output, error, and all of every step but its times."""
        query = select(steps).where(steps.c.tenant_id == self.lane.tenant_id, steps.c.execution_id == execution.id)
        async with self.lane.database.across.read() as connection:
            rows = (await connection.execute(query)).all()
        sealer = await self.lane.vault.sealer(self.lane.tenant_id)
        ended = {}
        for row in rows:
            place = step_place(row.execution_id, row.node_id, row.path)
            given = None if row.input_sealed is None else sealer.open_json(row.input_sealed, place)
            detail = sealer.open_json(row.detail_sealed, place)
            ended[f"{row.node_id}/{row.path}"] = [row.status, row.attempt, given, detail]
        outcome = {
            "status": execution.status,
            "output": execution.output,
            "error": execution.error,
            "steps": dict(sorted(ended.items())),
        }
        return msgspec.json.decode(_OWN.sub("…", msgspec.json.encode(outcome).decode()))
