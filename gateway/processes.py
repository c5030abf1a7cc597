"""The processes of an installation, each run until it is asked to stop: ``gateway serve``, ``gateway worker …``."""

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
import uvicorn
from prometheus_client import start_http_server
from sqlalchemy.exc import SQLAlchemyError

from gateway.app import create_app
from gateway.compose import Platform, open_platform
from gateway.handover import ApiHandover
from gateway.renewal import renew_plugin
from gateway.retention import keep_purging, purge_plugin
from gateway.settings import Settings
from gateway.shredding import shred_plugin
from gateway.telemetry.logs import configure_logs
from gateway.wire import joining
from internal_jobs.cell import run_cell
from internal_jobs.engines import Engines
from internal_jobs.eviction import refuse_eviction
from internal_jobs.promotion.promoter import Handover
from internal_jobs.schedules.scheduler import Scheduler
from internal_jobs.worker import run_worker as run_jobs_worker
from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.host.invoke import Host
from plugins.host.registry import Registry
from user_workflows.builds import Builds
from user_workflows.codegen.load import Generated, load_modules
from user_workflows.errors import EngineUnavailable, WorkflowsError
from user_workflows.interpreter.queues import EXECUTION_QUEUE, dedicated_queue
from user_workflows.worker import run_worker as run_workflows_worker

log = structlog.get_logger(__name__)

#: seconds that requests under way have to finish after SIGTERM
DRAIN = 8
#: objects that are there anew, and not gone again, when garbage is looked for; Python's own figure is 700
GARBAGE = 5_000
#: seconds between two looks for changes of schedules that were cut short
SETTLE_INTERVAL = 15.0
#: seconds between two tries to reach Temporal at the start
RECONNECT_INTERVAL = 2.0


def begin(settings: Settings, process: str) -> None:
    """Configure the logs, and keep what is loaded by now out of garbage collections."""
    configure_logs(settings.log_format, settings.log_level, process=process)
    keep_what_is_loaded()


def keep_what_is_loaded() -> None:
    """Keep what is loaded by now out of garbage collections, and have them less often.

    It stays for as long as the process does, and to walk it all again costs more than most requests: two thirds of the
    time in which a large definition is compiled. What requests and jobs leave is nearly all gone by itself when they
    end; to look for more as often as Python does is a fortieth of a worker's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE, 20)


async def serve(settings: Settings) -> None:
    """Serve the API until SIGTERM or SIGINT, then let the requests under way finish."""
    begin(settings, "serve")
    for number in (signal.SIGTERM, signal.SIGINT):
        # The server takes these over and, when it has drained, raises them again: to stop as asked is no failure.
        signal.signal(number, lambda *_: None)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        # Ours is in place already; `telemetry.access` writes the lines of requests.
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN,
        lifespan="on",
    )
    config.load()
    config.http_protocol_class = joining(config.http_protocol_class)
    server = uvicorn.Server(config)
    # Streams have no end of their own: they ask for it.
    app.state.is_stopping = lambda: server.should_exit
    await server.serve()


async def run_user_workflows_worker(settings: Settings, modules: Sequence[Path] = (), queue: str | None = None) -> None:
    """Run user workflows until SIGTERM or SIGINT, then drain.

    Args:
        settings: of this installation.
        modules: files of generated code, to be served too.
        queue: of tenants that have one of their own; ``None``: that of all others.

    Raises:
        ModuleFault: a file holds no generated workflow.
    """
    begin(settings, "user-workflows")
    generated = load_modules(modules)
    for each in generated:
        if each.name not in settings.generated:
            log.warning("generated.unused", type=each.name, hint="name it in GATEWAY_GENERATED of every process")
    stop = _stop_on_signals()
    async with AsyncExitStack() as stack:
        platform = await _open_with_temporal(settings, stack, stop)
        if platform is None:
            return
        stack.enter_context(_metrics(settings))
        await stack.enter_async_context(_beside(_keep_settling(platform)))
        builds = Builds(
            platform.temporal,
            settings.build_id,
            queue=EXECUTION_QUEUE if queue is None else dedicated_queue(queue),
            is_alone=settings.sole_build,
        )
        await work_on_executions(platform, builds, stop, generated=generated)


async def work_on_executions(
    platform: Platform, builds: Builds, stop: asyncio.Event, *, generated: Sequence[Generated] = ()
) -> None:
    """Run the worker of user workflows over an open platform until `stop` is set, then drain."""
    await run_workflows_worker(
        temporal=platform.temporal,
        database=platform.database,
        vault=platform.vault,
        registry=platform.registry,
        host=platform.host,
        starts=platform.starts,
        approvals=platform.approvals,
        builds=builds,
        feed=platform.feed,
        announcements=platform.announcements,
        stop=stop,
        generated=generated,
    )


async def run_internal_jobs_worker(settings: Settings, *, cell: int | None = None) -> None:
    """Run internal jobs, and the chores of every floor, until SIGTERM or SIGINT, then drain.

    Args:
        settings: of this installation.
        cell: run only what a worker hands over, and answer it on the pipe of this number.

    Raises:
        UnsafeRedis: Redis drops messages when its memory is full, and the settings do not allow that.
    """
    begin(settings, "internal-jobs")
    if cell is not None:
        async with open_platform(settings) as platform:
            registry, host = _chores(platform)
            await run_cell(
                cell,
                database=platform.database,
                vault=platform.vault,
                host=host,
                registry=registry,
                engines=_engines(settings),
            )
        return
    stop = _stop_on_signals()
    await refuse_eviction(settings.redis_url, anyway=settings.redis_may_evict)
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(open_platform(settings))
        for work in (keep_purging(platform), _schedule(platform), platform.webhooks.keep_settling()):
            await stack.enter_async_context(_beside(work))
        registry, host = _chores(platform)
        with _metrics(settings):
            await run_jobs_worker(
                database=platform.database,
                vault=platform.vault,
                host=host,
                registry=registry,
                redis_url=settings.redis_url,
                cell=(sys.executable, "-P", "-m", "gateway", "worker", "internal-jobs", "--cell"),
                engines=_engines(settings),
                handover=await stack.enter_async_context(_handover(platform)),
                stop=stop,
            )


async def _schedule(platform: Platform) -> None:
    """Fire the schedules of jobs; every jobs worker does, and each firing happens once."""
    await Scheduler(database=platform.database, vault=platform.vault, jobs=platform.jobs).run()


def _engines(settings: Settings) -> Engines:
    return Engines(by_type=settings.job_lanes, promoted=settings.promoted_jobs)


def _chores(platform: Platform) -> tuple[Registry, Host]:
    """Every job type that there is, the installation's own included, and what runs them."""
    registry = Registry(
        [
            *platform.registry,
            purge_plugin(platform),
            renew_plugin(platform),
            shred_plugin(platform),
            *platform.webhooks.chores(),
        ]
    )
    host = Host(
        registry=registry,
        ledger=platform.ledger,
        lender=platform.lender,
        egress=platform.egress,
        on_failed=platform.timelines.note,
    )
    return registry, host


@asynccontextmanager
async def _handover(platform: Platform) -> AsyncIterator[Handover]:
    """Open the way to this installation's own API, which plugins do not have."""
    url = platform.settings.api_url
    http = EgressClient(Guard(allow=[urlsplit(url).netloc]))
    try:
        yield ApiHandover(url, platform.service_tokens, http)
    finally:
        await http.close()


async def _open_with_temporal(settings: Settings, stack: AsyncExitStack, stop: asyncio.Event) -> Platform | None:
    """Open the platform as soon as Temporal answers; ``None`` when asked to stop before that."""
    while not stop.is_set():
        try:
            return await stack.enter_async_context(open_platform(settings, lazy=False))
        except EngineUnavailable:
            log.warning("temporal.unreachable", retry_in=RECONNECT_INTERVAL)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RECONNECT_INTERVAL)
    return None


async def _keep_settling(platform: Platform) -> None:
    """Finish, from time to time, the changes of schedules that a crash or an absent Temporal cut short."""
    while True:
        try:
            if settled := await platform.workflows.settle():
                log.info("schedules.settled", workflows=settled)
        except (WorkflowsError, SQLAlchemyError, OSError) as error:
            log.warning("schedules.notSettled", error=type(error).__name__, retry_in=SETTLE_INTERVAL)
        await asyncio.sleep(SETTLE_INTERVAL)


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do `work` for as long as the block runs; work that breaks is an error in the log, and the block goes on."""
    task = asyncio.create_task(work)
    task.add_done_callback(_report)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def _report(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("background.ended", exc_info=error)


@contextmanager
def _metrics(settings: Settings) -> Iterator[None]:
    """Serve this process's figures where the settings say so."""
    if settings.metrics_port is None:
        yield
        return
    server, thread = start_http_server(settings.metrics_port, addr=settings.host)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
