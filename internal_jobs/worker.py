"""The jobs worker: Dramatiq's threads, one event loop for everything that waits, relay and sweeper beside them."""

import asyncio
import signal
from collections.abc import Callable, Collection, Sequence
from functools import partial

import structlog
from msgspec import Struct, field
from redis import Redis

from internal_jobs.attempts import Attempts
from internal_jobs.broker import connect, consuming_broker, lane_name, producing_broker
from internal_jobs.cells import Cells
from internal_jobs.dead_letters.replayer import Replayer
from internal_jobs.engines import NOTHING_SET, Engines
from internal_jobs.inbox.intake import Intake
from internal_jobs.jobs import QUEUES, Queue
from internal_jobs.lane import Inherit, Lane, Run
from internal_jobs.leases import Leases, Refusal
from internal_jobs.outbox import Outbox
from internal_jobs.poison import Redeliveries, take_over
from internal_jobs.promotion.promoter import Handover, Promoter
from internal_jobs.relay import Relay
from internal_jobs.runner import Runner
from internal_jobs.slots import Slots
from internal_jobs.stall import ended_by_stall
from internal_jobs.sweeper import Sweeper
from internal_jobs.tickets import Ticket
from internal_jobs.wake import WakeListener
from plugins.host.invoke import Host
from plugins.host.ledger import Ledger
from plugins.host.registry import Registry
from plugins.host.threads import left_behind
from plugins.storage.database import Database
from plugins.vault.keys import Vault

_log = structlog.get_logger(__name__)

#: Milliseconds that an idle consumer waits before it asks Redis again; a word from whoever published wakes it at once.
_CONSUMER_TIMEOUT = 250
#: Renewals in the life of a lease: two may fail before it is lost.
RENEWALS = 3
#: Seconds over which the work of threads left behind is looked at.
_WEAR = 2.0
#: Seconds that threads have to end once their attempts have.
_LAST_MOMENT = 1.0


class WorkerOptions(Struct, frozen=True, kw_only=True):
    #: attempts at a time; each queue has its own, so that no class waits for another
    slots: dict[Queue, int] = field(default_factory=lambda: {"critical": 8, "default": 16, "bulk": 8})
    #: more slots for each queue, for tenants that hold hardly any: a flood of slow jobs leaves them free
    express: int = 4
    #: jobs of one queue that wait in Redis, in the whole installation; more where they begin faster (`Relay`)
    window: int = 64
    #: seconds after which the jobs of a killed worker are taken over
    lease: float = 6.0
    #: seconds without a sign of life after which Dramatiq gives a worker's messages to another
    heartbeat_timeout: float = 5.0
    #: seconds that running attempts have to end before they are handed back
    drain: float = 6.0
    #: seconds for which a plugin may block the event loop before the process ends, and its jobs are taken over
    stall: float = 10.0
    #: bytes that a cell may allocate
    cell_memory: int = 2 * 2**30
    #: prefix of the keys in Redis
    namespace: str = "jobs"


async def run_worker(
    *,
    database: Database,
    vault: Vault,
    host: Host,
    registry: Registry,
    redis_url: str,
    cell: Sequence[str],
    options: WorkerOptions | None = None,
    engines: Engines = NOTHING_SET,
    handover: Handover | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Run jobs until told to stop, then drain: nothing new is begun, what runs may end, the rest is handed back.

    It drains by itself, to be started anew, when a thread that a plugin left behind burns its time.
    It starts, and goes on, without Redis and without the database; it says so and recovers by itself.

    Args:
        database: where the jobs are.
        vault: opens payloads, seals results.
        host: runs the plugins.
        registry: the job types that this worker knows, chores included.
        redis_url: ``redis://…``, ``rediss://…`` or ``unix://…``.
        cell: the command that starts a process with `run_cell`; the number of its pipe is added.
        options: threads, window, lease and drain.
        engines: what is set for types of jobs.
        handover: the way to the API, by which jobs become executions; without one they wait.
        stop: set it to drain; without one, SIGTERM and SIGINT do.
    """
    options = options or WorkerOptions()
    stop = stop or _stop_on_signals()
    client = connect(redis_url)
    publisher = producing_broker(client, options.namespace, options.heartbeat_timeout)
    outbox = Outbox(database, window=options.window, express=options.window // 4)
    leases = Leases(database, length=options.lease)
    attempts = Attempts(leases, interval=options.lease / RENEWALS)
    relay = Relay(outbox, publisher)
    redeliveries = Redeliveries(vault, Ledger(database, vault))
    sweeper = Sweeper(
        outbox=outbox,
        leases=leases,
        broker=publisher,
        redeliveries=redeliveries,
        on_due=relay.wake,
        grace=options.lease,
    )
    promoter = None if handover is None else Promoter(database, vault, handover)
    wake_promoter = relay.wake if promoter is None else promoter.wake
    runner = Runner(
        leases=leases,
        attempts=attempts,
        host=host,
        registry=registry,
        vault=vault,
        on_begun=relay.begun,
        on_due=relay.wake,
        on_ended=relay.ended,
        on_promoting=wake_promoter,
        engines=engines,
    )
    cells = Cells(cell, leases=leases, redeliveries=redeliveries, on_due=relay.wake)

    async def run(ticket: Ticket, on_over: Callable[[], None]) -> None:
        if await runner.run(ticket, on_over) is Refusal.SUSPECT:
            await cells.run(ticket)

    inherit = partial(take_over, leases=leases, redeliveries=redeliveries, on_due=relay.wake)
    lanes = [
        _lane(client, options, queue, run, inherit, express=express) for queue in QUEUES for express in (False, True)
    ]
    keeper = asyncio.create_task(attempts.run())
    replayer = Replayer(database, on_due=relay.wake)
    intake = Intake(database, vault, on_due=relay.wake)

    def heard() -> None:
        # Nearly always it is the relay's word: the others look after it has asked its first question.
        relay.wake()
        intake.wake()
        wake_promoter()

    def published(names: Collection[str]) -> None:
        for lane in lanes:
            if not names or lane.name in names:
                lane.wake()

    listener = WakeListener(redis_url, heard, published, namespace=options.namespace)
    running = (relay.run(), sweeper.run(), listener.run(), replayer.run(), intake.run())
    services = [asyncio.create_task(service) for service in running]
    if promoter is not None:
        services.append(asyncio.create_task(promoter.run()))
    worn = asyncio.create_task(_wear())
    _log.info("jobs.worker_started", slots=options.slots, types=len(registry))
    try:
        with ended_by_stall(options.stall):
            await _first(asyncio.create_task(stop.wait()), worn, keeper, *services)
    finally:
        await _cancel([*services, worn])
        await _drain(lanes, attempts, options.drain)
        await cells.close()
        await _cancel([keeper])
        await asyncio.to_thread(client.close)
        _log.info("jobs.worker_stopped")


def _lane(client: "Redis", options: WorkerOptions, queue: Queue, run: Run, inherit: Inherit, *, express: bool) -> Lane:
    """Start one lane: a broker and slots of its own."""
    slots = Slots(options.express if express else options.slots[queue])
    broker = consuming_broker(client, options.namespace, options.heartbeat_timeout, slots)
    return Lane(broker, lane_name(queue, express=express), slots, run, inherit, timeout=_CONSUMER_TIMEOUT)


async def _wear() -> None:
    """Return when a thread that a plugin left behind has burned the processor for a while."""
    before: dict[int, float] = {}
    while True:
        burned = left_behind()
        if any(seconds - before.get(thread, seconds) > _WEAR / 4 for thread, seconds in burned.items()):
            _log.warning("jobs.worn", threads=len(burned), effect="this worker drains, to be started anew")
            return
        before = burned
        await asyncio.sleep(_WEAR)


async def _first(*tasks: "asyncio.Task[object]") -> None:
    """Wait until one of the tasks ends; raise what ended it, if that was an error."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


async def _drain(lanes: Sequence[Lane], attempts: Attempts, seconds: float) -> None:
    """Let running attempts end, hand back those that do not, and stop the threads."""
    _log.info("jobs.draining", running=len(attempts), seconds=seconds)
    drains = [asyncio.create_task(lane.drain()) for lane in lanes]
    _, late = await asyncio.wait(drains, timeout=seconds)
    if late and (abandoned := attempts.abandon()):
        _log.warning("jobs.handed_back", attempts=abandoned)
    await asyncio.wait(drains, timeout=_LAST_MOMENT)
    await _cancel(drains)
    await asyncio.gather(*(asyncio.to_thread(lane.stop, _LAST_MOMENT) for lane in lanes))


async def _cancel(tasks: "Sequence[asyncio.Task[object]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _stop_on_signals() -> asyncio.Event:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
