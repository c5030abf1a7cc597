"""Cells: processes of their own for jobs that saw a worker die, so that the next death is theirs alone.

They are started when the first suspect comes, run one job at a time, and end when none has come for a while.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence

import structlog

from internal_jobs.leases import Leases
from internal_jobs.poison import Redeliveries
from internal_jobs.stall import STALLED
from internal_jobs.tickets import Ticket

_log = structlog.get_logger(__name__)

#: Seconds that a suspect waits for a free cell before it is put off, and for how long it is.
PATIENCE, PAUSE = 0.25, 0.5
#: Seconds that a cell may wait for its next job.
IDLE = 30.0
#: Seconds that a cell has to hand its job back when the worker ends.
LAST_MOMENT = 2.0


class Cell:
    """One process, and the pipe on which it says that a job is over."""

    def __init__(self, process: asyncio.subprocess.Process, said: asyncio.StreamReader) -> None:
        self.process = process
        self._said = said

    async def lives(self) -> bool:
        """Wait for the next word; return whether there was one."""
        return bool(await self._said.read(1))

    async def run(self, ticket: Ticket) -> bool:
        """Let the process run a job; return whether it lived."""
        if self.process.stdin is None:
            raise RuntimeError("a cell is told its jobs through its standard input")
        try:
            self.process.stdin.write(f"{ticket.tenant_id} {ticket.job_id} {ticket.sequence}\n".encode())
            await self.process.stdin.drain()
        except ConnectionError:
            return False
        return await self.lives()

    def dismiss(self) -> None:
        """Let it end when it has finished what it does."""
        if self.process.stdin is not None:
            self.process.stdin.close()

    async def end(self) -> None:
        """End it: what it runs is handed back."""
        if self.process.returncode is None:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), LAST_MOMENT)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()


class Cells:
    """Runs suspects, a few at a time.

    Args:
        command: starts a cell; the number of the pipe to answer on is added to it.
        leases: where the job of a cell that died is taken back.
        redeliveries: decides about it then.
        on_due: called when a job can be published again.
        most: cells at a time.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        leases: Leases,
        redeliveries: Redeliveries,
        on_due: Callable[[], None],
        most: int = 4,
    ) -> None:
        self._command = command
        self._leases = leases
        self._redeliveries = redeliveries
        self._on_due = on_due
        self._most = most
        self._all: set[Cell] = set()
        self._idle: dict[Cell, asyncio.TimerHandle] = {}
        self._rests = asyncio.Condition()
        self._is_starting = False
        self._is_closing = False

    async def run(self, ticket: Ticket) -> None:
        """Run a suspect in a cell, or put it off when all are taken."""
        cell = await self._find()
        if cell is None:
            await self._leases.put_off(ticket, PAUSE)
        elif await cell.run(ticket):
            await self._rest(cell)
        else:
            await self._bury(cell, ticket)
        self._on_due()

    async def close(self) -> None:
        """End every cell."""
        self._is_closing = True
        await asyncio.gather(*(cell.end() for cell in self._all))

    async def _find(self) -> Cell | None:
        """Return a cell that is free, or a new one; one at a time is started, for most suspects are soon done."""
        if (cell := self._rested()) is not None:
            return cell
        if not self._is_starting and len(self._all) < self._most:
            self._is_starting = True
            try:
                return await self._start()
            finally:
                self._is_starting = False
        try:
            async with asyncio.timeout(PATIENCE), self._rests:
                await self._rests.wait_for(lambda: self._idle)
                return self._rested()
        except TimeoutError:
            return None

    async def _start(self) -> Cell:
        """Start a cell and wait until it is ready, or dead."""
        answers, pipe = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, str(pipe), stdin=asyncio.subprocess.PIPE, pass_fds=(pipe,)
            )
        finally:
            os.close(pipe)
        said = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(said), os.fdopen(answers, "rb")
        )
        cell = Cell(process, said)
        self._all.add(cell)
        _log.info("jobs.cell_started", pid=process.pid, ready=await cell.lives())
        return cell

    def _rested(self) -> Cell | None:
        while self._idle:
            cell, timer = self._idle.popitem()
            timer.cancel()
            if cell.process.returncode is None:
                return cell
            self._all.discard(cell)
        return None

    async def _rest(self, cell: Cell) -> None:
        def dismiss() -> None:
            del self._idle[cell]
            self._all.discard(cell)
            cell.dismiss()

        self._idle[cell] = asyncio.get_running_loop().call_later(IDLE, dismiss)
        async with self._rests:
            self._rests.notify()

    async def _bury(self, cell: Cell, ticket: Ticket) -> None:
        """Take back the job of a cell that died."""
        how = _how(await cell.process.wait())
        self._all.discard(cell)
        if self._is_closing:
            return
        _log.warning("jobs.cell_died", tenant_id=ticket.tenant_id, job_id=ticket.job_id, how=how)
        if (row := await self._leases.held(ticket)) is not None:
            await self._leases.forfeit(await self._redeliveries.after_death(row, how=how))


def _how(code: int) -> str:
    """Say how a process ended."""
    if code == STALLED:
        return "was stopped because it blocked the event loop"
    if code == -signal.SIGKILL:
        return "was killed, as the system does when memory runs out"
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
