"""Recorded histories: how they are made, kept and replayed.

``python -m tests.replay.recording`` (``make record``) runs every case that has no recording yet against a real
Temporal server and keeps its history, with what each step came to. Recordings are never made again: they stand for
executions that began under an older interpreter.
"""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.worker import (
    Interceptor,
    Replayer,
    StartLocalActivityInput,
    UnsandboxedWorkflowRunner,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ActivityHandle

from plugins.storage.database import Database
from tests import servers
from tests.replay.cases import CASES, Case
from tests.sqlite import new_sqlite
from tests.user_workflows.lane import Lane, open_lane
from user_workflows.codec import plain_data_converter
from user_workflows.executions.views import Execution
from user_workflows.interpreter.emit import EMIT
from user_workflows.interpreter.ending import CLOSE
from user_workflows.interpreter.messages import PARKED, ExecutionRecord, TriggerCall, workflow_id
from user_workflows.interpreter.parked import Parked
from user_workflows.interpreter.workflow import CHECKPOINT, Interpreter

FOLDER = Path(__file__).parent / "histories"


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """One history, and the last record that the interpreter came to when it was recorded."""

    workflow_id: str
    history: dict[str, Any]
    final: dict[str, Any]


def read(path: Path) -> Recording:
    return msgspec.json.decode(path.read_bytes(), type=Recording)


async def replay(
    workflow_id: str, history: dict[str, Any], data_converter: DataConverter | None = None
) -> dict[str, Any]:
    """Replay a history with the present code and return the last record it comes to; a parked execution makes none.

    Args:
        workflow_id: Temporal's.
        history: of one run.
        data_converter: what its payloads were written with, if not plain JSON.

    Raises:
        temporalio.workflow.NondeterminismError: the present code does not do what the recorded one did.
    """
    finals: list[ExecutionRecord] = []
    replayer = Replayer(
        workflows=[Interpreter, Parked],
        data_converter=data_converter or plain_data_converter(),
        interceptors=[_Capture(finals.append)],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    await replayer.replay_workflow(WorkflowHistory.from_json(workflow_id, history))
    if not finals:
        return {}
    final: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(finals[-1]))
    return final | {"steps": sorted(final["steps"], key=lambda step: (step["path"], step["node_id"]))}


class _Capture(Interceptor):
    """Hands over the record that the interpreter closes with, or goes on from in a further run."""

    def __init__(self, captured: Callable[[ExecutionRecord], None]) -> None:
        self._captured = captured

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        captured = self._captured
        input.unsafe_extern_functions[EMIT] = lambda record, is_awaited: None

        class Outbound(WorkflowOutboundInterceptor):
            def start_local_activity(self, input: StartLocalActivityInput) -> ActivityHandle[Any]:
                if input.activity in (CHECKPOINT, CLOSE):
                    captured(input.args[0])
                return super().start_local_activity(input)

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(Outbound(outbound))

        return Inbound


async def record(lane: Lane, case: Case) -> Recording:
    workflow = await lane.publish(case.definition)
    given = case.input if case.calls is None else {"called": await lane.publish(case.calls)}
    trigger = TriggerCall(type="manual", payload=given)
    execution = await lane.executions.start(lane.tenant_id, workflow, trigger=trigger)
    execution = await see_through(lane, case, execution)
    id = workflow_id(lane.tenant_id, execution.id)
    history = (await runs(lane, execution))[case.run].to_json_dict()
    return Recording(workflow_id=id, history=history, final=await replay(id, history))


async def see_through(lane: Lane, case: Case, execution: Execution) -> Execution:
    """Do to an execution what its case says, and return it when it has ended."""
    if case.park_at is not None:
        await _until(lane, execution, case.park_at, "waiting")
        await _park(lane, execution)
    for name, payload in case.signals:
        await lane.executions.signal(lane.tenant_id, execution.id, name, payload)
    if case.cancel_at is not None:
        await lane.gates.arrived(case.cancel_at)
        await lane.executions.cancel(lane.tenant_id, execution.id, compensate=case.compensates)
    if case.cancel_after is not None:
        while (await lane.steps(execution))[case.cancel_after].error is None:
            await asyncio.sleep(0.02)
        await lane.executions.cancel(lane.tenant_id, execution.id)
    if case.pause_at is not None:
        await lane.gates.arrived(case.pause_at)
        await lane.controls.pause(lane.tenant_id, execution.id)
        lane.gates.at(case.pause_at).set()
        await _until(lane, execution, case.pause_at, "completed")
        await lane.controls.resume(lane.tenant_id, execution.id)
    if case.decide_at is not None:
        await _until(lane, execution, case.decide_at, "waiting")
        (opened,) = await lane.approvals.list(lane.tenant_id, execution.id)
        for link, decision in zip(opened.links, case.decisions, strict=False):
            await lane.approvals.decide(link.token, decision, comment=None, data=None)
    if case.opens is not None:
        gate, node_id = case.opens
        await _until(lane, execution, node_id, "completed")
        lane.gates.at(gate).set()
    if case.skip is not None:
        if case.skip_at is None:
            await _until(lane, execution, case.skip, "waiting")
        else:
            await lane.gates.arrived(case.skip_at)
        await lane.controls.skip(lane.tenant_id, execution.id, case.skip)
    finished = await lane.finish(execution)
    if case.rerun is not None:
        from_node, seen = case.rerun
        execution = await lane.controls.rerun(lane.tenant_id, execution.id, from_node=from_node, input=seen)
        finished = await lane.finish(execution)
    if case.is_retried:
        await lane.controls.retry(lane.tenant_id, execution.id)
        finished = await lane.finish(execution)
    return finished


async def runs(lane: Lane, execution: Execution) -> list[WorkflowHistory]:
    """Return the histories of all runs of an execution, the first run's first; the last may still run.

    Of an execution that has ended they are whole, though its record was closed before the last workflow task was.
    """
    id = workflow_id(lane.tenant_id, execution.id)
    described = await lane.temporal.get_workflow_handle(id).describe()
    histories: list[WorkflowHistory] = []
    run_id = described.raw_description.workflow_execution_info.first_run_id
    while run_id:
        run = lane.temporal.get_workflow_handle(id, run_id=run_id)
        events = [event async for event in run.fetch_history_events(wait_new_event=execution.is_closed)]
        histories.append(WorkflowHistory(id, events))
        ended = histories[-1].events[-1].workflow_execution_continued_as_new_event_attributes
        run_id = ended.new_execution_run_id
    return histories


def billed(histories: Sequence[WorkflowHistory]) -> int:
    """Count the actions in the histories of all runs by the rules of docs.temporal.io/cloud/actions.

    A start, each timer, signal and attempt of an activity; all local activities of one workflow task together.
    """
    actions = 0
    for history in histories:
        of_task: set[int] = set()
        for event in history.events:
            match event.event_type:
                case (
                    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED
                    | EventType.EVENT_TYPE_TIMER_STARTED
                    | EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
                ):
                    actions += 1
                case EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
                    actions += event.activity_task_started_event_attributes.attempt
                case EventType.EVENT_TYPE_MARKER_RECORDED:
                    marker = event.marker_recorded_event_attributes
                    if marker.marker_name == "core_local_activity":
                        of_task.add(marker.workflow_task_completed_event_id)
        actions += len(of_task)
    return actions


async def _park(lane: Lane, execution: Execution) -> None:
    handle = lane.temporal.get_workflow_handle(workflow_id(lane.tenant_id, execution.id))
    await handle.signal("park")
    while (await handle.describe()).workflow_type != PARKED:
        await asyncio.sleep(0.02)


async def _until(lane: Lane, execution: Execution, node_id: str, status: str) -> None:
    while (await lane.steps(execution))[node_id].status != status:
        await asyncio.sleep(0.02)


async def record_what_is_missing() -> None:
    missing = [case for case in CASES if not (FOLDER / f"{case.name}.json").exists()]
    with tempfile.TemporaryDirectory(prefix="gateway-record-") as name:
        folder = Path(name)
        server = servers.temporal_server(folder / "temporal")
        process = await asyncio.to_thread(servers.start, server)
        try:
            database = Database(new_sqlite(folder / "gateway.db"))
            for limit, cases in groupby(sorted(missing, key=_limit), _limit):
                async with open_lane(database, server.address, folder, readable=True, history_limit=limit) as lane:
                    for case in cases:
                        recording = await record(lane, case)
                        encoded = msgspec.json.format(msgspec.json.encode(recording), indent=1)
                        (FOLDER / f"{case.name}.json").write_bytes(encoded + b"\n")
                        print(f"recorded {case.name}: {len(recording.history['events'])} events")
            await database.close()
        finally:
            await asyncio.to_thread(servers.stop, process)


def _limit(case: Case) -> int:
    return case.history_limit


if __name__ == "__main__":
    asyncio.run(record_what_is_missing())
