"""The process that runs user workflows: the interpreter, its activities, its records and the sweep."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import structlog
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.service import RPCError
from temporalio.worker import (
    Interceptor,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from plugins.host.invoke import Host
from plugins.host.registry import Registry
from plugins.storage.database import Database, now
from plugins.vault.keys import Vault
from user_workflows.activities.acknowledgement import Acknowledging
from user_workflows.activities.batch import BatchActivity
from user_workflows.activities.close import CloseActivities
from user_workflows.activities.executions import CallActivities
from user_workflows.activities.heartbeats import HEARTBEAT_INTERVAL
from user_workflows.activities.segment import SegmentActivity
from user_workflows.activities.slots import SlotActivities
from user_workflows.activities.step import step_activities
from user_workflows.admission.acting import Acknowledgements
from user_workflows.admission.usher import Usher
from user_workflows.approvals.desk import Approvals
from user_workflows.builds import Builds
from user_workflows.codegen.load import Generated
from user_workflows.errors import EngineUnavailable
from user_workflows.executions.starts import Starts
from user_workflows.fairness.intake import STEPS, Contention, make_tuner
from user_workflows.fairness.shares import Shares
from user_workflows.fairness.tiers import Tiers
from user_workflows.interpreter.emit import EMIT
from user_workflows.interpreter.messages import ExecutionRecord
from user_workflows.interpreter.parked import Parked
from user_workflows.interpreter.queues import queue_of_steps
from user_workflows.interpreter.workflow import Interpreter
from user_workflows.live.feed import FeedWriter
from user_workflows.parking import Parker
from user_workflows.records.announcements import Announcements
from user_workflows.records.reconcile import Reconciler
from user_workflows.records.writer import RecordWriter
from user_workflows.triggers.fire import Fire, FireActivity

#: how long running steps may finish after SIGTERM; then they are handed to another worker
DRAIN = timedelta(seconds=8)

#: seconds between two sweeps for records that have fallen behind
SWEEP_INTERVAL = 15.0

#: seconds between two looks for what was ended past the API, and how much later than it ends it may be listed
LOOK_INTERVAL, LAG = 5.0, timedelta(seconds=30)

_log = structlog.get_logger(__name__)


class LendEmit(Interceptor):
    """Lends the interpreter the function by which it tells what happened."""

    def __init__(self, records: RecordWriter, contention: Contention) -> None:
        self._records = records
        self._contention = contention

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        input.unsafe_extern_functions[EMIT] = self._emit
        return None

    def _emit(self, record: ExecutionRecord, is_awaited: bool) -> None:
        self._contention.note(record.tenant_id)
        self._records.put(record, is_awaited)


async def run_worker(
    *,
    temporal: Client,
    database: Database,
    vault: Vault,
    registry: Registry,
    host: Host,
    starts: Starts,
    approvals: Approvals,
    builds: Builds,
    stop: asyncio.Event,
    feed: FeedWriter | None = None,
    announcements: Announcements | None = None,
    max_concurrent_steps: int = STEPS,
    max_cached_executions: int = 1_000,
    generated: Sequence[Generated] = (),
) -> None:
    """Serve the task queues of `builds` until `stop` is set, then drain; without a `feed` nobody can watch live.

    With no cached executions, each is replayed from its history whenever it goes on, as after the loss of a worker.
    """
    published = _to_nobody if feed is None else feed.put
    records = RecordWriter(database, vault, starts.reception.gate, published, announcements)
    parker = Parker(temporal)

    async def tend(description: WorkflowExecutionDescription) -> None:
        if not await builds.move(description):
            await parker.ask(description)

    reconciler = Reconciler(
        database=database,
        vault=vault,
        temporal=temporal,
        starts=starts,
        tend=tend,
        announcements=announcements,
    )
    segments, closing = SegmentActivity(host, records, database), CloseActivities(records, temporal)
    slots = SlotActivities(starts.reception.gate)
    stopped = Acknowledging(Acknowledgements(database, starts.reception.gate))
    calls = CallActivities(starts)
    local: list[Callable[..., Any]] = [
        closing.cancel,
        closing.checkpoint,
        closing.close,
        segments.run,
        approvals.open,
        approvals.close,
        slots.let_go,
        slots.take_up,
    ]
    steps: list[Callable[..., Any]] = [
        *step_activities(registry, host, records),
        segments.run,
        BatchActivity(host, records, database).run,
        FireActivity(starts).start,
        calls.call,
        calls.start_error_workflow,
    ]
    contention = Contention()
    usher = Usher(database, starts.reception, temporal, starts.repeat)
    shares = Shares(Tiers(database), temporal, builds.queue)
    lasting = (
        records.run(),
        usher.run(),
        shares.run(),
        _look_for_ended(reconciler),
        _sweep(reconciler, approvals),
        _take_over(builds, reconciler),
    )
    background = [asyncio.create_task(work) for work in lasting]
    if feed is not None:
        background.append(asyncio.create_task(feed.run()))
    try:
        async with AsyncExitStack() as serving:
            await serving.enter_async_context(
                _execution_worker(temporal, records, builds, local, cached=max_cached_executions, contention=contention)
            )
            await serving.enter_async_context(
                _step_worker(
                    temporal,
                    queue_of_steps(builds.queue),
                    steps,
                    stopped,
                    concurrency=max_concurrent_steps,
                    contention=contention,
                )
            )
            for each in generated:
                await serving.enter_async_context(
                    generated_worker(
                        temporal, records, approvals, each, cached=max_cached_executions, contention=contention
                    )
                )
            _log.info("worker.ready", plugins=len(list(registry)), generated=[each.name for each in generated])
            await stop.wait()
            _log.info("worker.draining", seconds=DRAIN.total_seconds())
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)


def _execution_worker(
    temporal: Client,
    records: RecordWriter,
    builds: Builds,
    activities: Sequence[Callable[..., Any]],
    *,
    cached: int,
    contention: Contention,
) -> Worker:
    return Worker(
        temporal,
        task_queue=builds.queue,
        workflows=[Interpreter, Parked, Fire],
        activities=activities,
        interceptors=[LendEmit(records, contention)],
        max_cached_workflows=cached,
        tuner=make_tuner(contention),
        deployment_config=builds.config,
        # Two small trusted modules, guarded by replay tests: the sandbox would cost two thirds of a worker's time.
        workflow_runner=UnsandboxedWorkflowRunner(),
        graceful_shutdown_timeout=DRAIN,
    )


def generated_worker(
    temporal: Client,
    records: RecordWriter,
    approvals: Approvals,
    served: Generated,
    *,
    cached: int,
    contention: Contention,
) -> Worker:
    """Return a worker for the executions of one version that was written as Python."""
    return Worker(
        temporal,
        task_queue=served.name,
        workflows=[served.workflow],
        activities=[CloseActivities(records, temporal).close, approvals.open, approvals.close],
        interceptors=[LendEmit(records, contention)],
        # The module is the operator's, as the plugins are; outside the sandbox it costs a third.
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=cached,
        tuner=make_tuner(contention),
        graceful_shutdown_timeout=DRAIN,
    )


def _step_worker(
    temporal: Client,
    queue: str,
    activities: Sequence[Callable[..., Any]],
    stopped: Acknowledging,
    *,
    concurrency: int,
    contention: Contention,
) -> Worker:
    return Worker(
        temporal,
        task_queue=queue,
        activities=activities,
        interceptors=[stopped],
        tuner=make_tuner(contention, steps=concurrency),
        max_heartbeat_throttle_interval=timedelta(seconds=HEARTBEAT_INTERVAL),
        default_heartbeat_throttle_interval=timedelta(seconds=HEARTBEAT_INTERVAL),
        graceful_shutdown_timeout=DRAIN,
    )


async def _take_over(builds: Builds, reconciler: Reconciler) -> None:
    """Make this build the current one, and at once look after what builds without workers have left behind."""
    if await builds.become_current():
        await reconciler.sweep_all()


def _to_nobody(_records: Collection[ExecutionRecord]) -> None:
    """Nobody can watch live."""


async def _look_for_ended(reconciler: Reconciler) -> None:
    """Notice within seconds what is terminated past the API, in Temporal's UI."""
    before = now()
    while True:
        await asyncio.sleep(LOOK_INTERVAL)
        at = now()
        try:
            # What has ended is listed a little later.
            await reconciler.repair_ended(before - LAG)
            before = at
        except (EngineUnavailable, RPCError) as error:
            _log.info("ended.notSeen", error=str(error))
        except Exception:
            _log.exception("ended.failed")


async def _sweep(reconciler: Reconciler, approvals: Approvals) -> None:
    while True:
        await asyncio.sleep(SWEEP_INTERVAL)
        try:
            await reconciler.sweep()
            await approvals.retell()
        except Exception:
            # Nothing is lost: the next round finds the same rows.
            _log.exception("sweep.failed")
