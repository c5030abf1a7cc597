"""Inside a cell: runs the jobs that it is told on its standard input, one at a time."""

import asyncio
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

from internal_jobs.attempts import Attempts
from internal_jobs.engines import NOTHING_SET, Engines
from internal_jobs.leases import Leases
from internal_jobs.runner import Runner
from internal_jobs.stall import ended_by_stall
from internal_jobs.tickets import Ticket
from internal_jobs.worker import RENEWALS, WorkerOptions
from plugins.host.invoke import Host
from plugins.host.registry import Registry
from plugins.host.threads import left_behind
from plugins.storage.database import Database
from plugins.vault.keys import Vault


async def run_cell(
    pipe: int,
    *,
    database: Database,
    vault: Vault,
    host: Host,
    registry: Registry,
    options: WorkerOptions | None = None,
    engines: Engines = NOTHING_SET,
) -> None:
    """Run suspects until the standard input ends, or SIGTERM; what runs then is handed back.

    A byte on `pipe` says that it is ready, then that a job is over. A cell in which a plugin was left behind ends after
    its job.
    """
    options = options or WorkerOptions()
    _give_way(options.cell_memory)
    leases = Leases(database, length=options.lease)
    attempts = Attempts(leases, interval=options.lease / RENEWALS)
    runner = Runner(
        leases=leases,
        attempts=attempts,
        host=host,
        registry=registry,
        vault=vault,
        on_begun=_nothing,
        on_due=_nothing,
        on_ended=_nothing,
        on_promoting=_nothing,
        engines=engines,
    )
    told = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)

    def say() -> None:
        with suppress(BrokenPipeError):
            os.write(pipe, b".")

    async def serve() -> None:
        say()
        while line := await told.readline():
            tenant_id, job_id, sequence = line.decode().split()
            await runner.run(Ticket(tenant_id, job_id, int(sequence)), alone=True)
            say()
            if left_behind():
                return

    keeper, served = asyncio.create_task(attempts.run()), asyncio.create_task(serve())
    asked = asyncio.create_task(over.wait())
    with ended_by_stall(options.stall):
        await asyncio.wait({keeper, served, asked}, return_when=asyncio.FIRST_COMPLETED)
        attempts.abandon()
        if not told.at_eof() and not served.done():
            told.feed_eof()
        await asyncio.wait({served}, timeout=options.drain)
    for task in (keeper, asked, served):
        task.cancel()
    await asyncio.gather(keeper, asked, served, return_exceptions=True)


def _give_way(memory: int) -> None:
    """Let memory run out here before it does elsewhere: as an error, or by being the first that the system kills."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or memory < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, hard))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _nothing() -> None:
    """Who published the job sees to the rest."""
