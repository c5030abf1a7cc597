"""Keeps one child running: waits until it is ready, starts it again when it dies, stops it when asked."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct

from gateway.up.child import Child, LogFile, ending, spawn
from gateway.up.errors import NotReady

_READY_POLL = 0.1
_PROBE_LIMIT = 5.0

State = Literal["starting", "ready", "restarting", "stopped"]


class Backoff(Struct, frozen=True, kw_only=True):
    """How long to wait before a restart: doubling with each death in a row, in seconds."""

    first: float = 0.2
    longest: float = 15.0
    #: after this long a life the next death counts as the first again
    healthy_after: float = 30.0

    def delay(self, deaths: int) -> float:
        return float(min(self.first * 2 ** min(deaths - 1, 16), self.longest))


class Condition(Struct, frozen=True, kw_only=True, rename="camel"):
    """How a child is doing, for people."""

    name: str
    state: State
    pid: int | None
    restarts: int
    since: datetime


class Keeper:
    """Keeps `child` running between `start` and `stop`.

    Args:
        report: is told in a line when the child dies and when it is back.
        changed: is called after each change of `condition`.
        keep_open: file descriptors that the child inherits.
    """

    def __init__(
        self,
        child: Child,
        log: LogFile,
        *,
        backoff: Backoff,
        report: Callable[[str], None],
        changed: Callable[[], None],
        keep_open: tuple[int, ...],
    ) -> None:
        self.child = child
        self._log = log
        self._backoff = backoff
        self._report = report
        self._changed = changed
        self._keep_open = keep_open
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._announcement: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._was_ready = False
        self.condition = Condition(name=child.name, state="stopped", pid=None, restarts=0, since=datetime.now(UTC))

    async def start(self, timeout: float) -> None:
        """Start the child and return when it is ready.

        Raises:
            NotReady: it ended, or was not ready within `timeout` seconds.
        """
        self.child.prepare()
        process = await self._spawn("starting", restarts=0)
        self._task = asyncio.create_task(self._keep(process))
        try:
            async with asyncio.timeout(timeout):
                ready = await self._becomes_ready(process)
        except TimeoutError:
            raise NotReady(self.child.name, f"was not ready within {timeout:g} s", self._log.tail()) from None
        if not ready:
            raise NotReady(self.child.name, f"{ending(process.returncode or 0)} while starting", self._log.tail())

    def ask_to_stop(self) -> None:
        """Ask the child to end, once: to some programs a second request means at once."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._signal(kill=False)

    async def ended(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the end of a child that was asked to stop."""
        if self._task is None:
            return True
        done, _ = await asyncio.wait({self._task}, timeout=timeout)
        return bool(done)

    def kill(self) -> None:
        """End the child at once."""
        self._stopping.set()
        self._signal(kill=True)

    async def _keep(self, process: asyncio.subprocess.Process) -> None:
        deaths = 0
        while True:
            started = time.monotonic()
            code = await process.wait()
            deaths = 1 if time.monotonic() - started > self._backoff.healthy_after else deaths + 1
            if not await self._may_restart(code, self._backoff.delay(deaths)):
                self._set("stopped", None)
                return
            process = await self._spawn("restarting", restarts=self.condition.restarts + 1)
            self._announcement = asyncio.create_task(self._announce(process))

    async def _may_restart(self, code: int, delay: float) -> bool:
        # What never worked is not tried again: `start` says why, and the person who started it decides.
        if self._stopping.is_set() or not self._was_ready:
            return False
        self._set("restarting", None)
        tail = self._log.tail()
        self._report(
            f"{self.child.name} {ending(code)}; it is started again in {delay:.1f} s"
            + (f". Its last lines:\n{tail}" if tail else "")
        )
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay)
        return not self._stopping.is_set()

    async def _announce(self, process: asyncio.subprocess.Process) -> None:
        if await self._becomes_ready(process):
            self._report(f"{self.child.name} is ready again (pid {process.pid})")

    async def _becomes_ready(self, process: asyncio.subprocess.Process) -> bool:
        while process.returncode is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_PROBE_LIMIT):
                    if await self.child.answers() and process.returncode is None:
                        self._was_ready = True
                        self._set("ready", process.pid)
                        return True
            await asyncio.sleep(_READY_POLL)
        return False

    async def _spawn(self, state: State, *, restarts: int) -> asyncio.subprocess.Process:
        process = await spawn(self.child, self._log, keep_open=self._keep_open)
        self._process = process
        self._set(state, process.pid, restarts)
        if self._stopping.is_set():  # asked to stop while it was being started
            process.terminate()
        return process

    def _signal(self, *, kill: bool) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill() if kill else self._process.terminate()

    def _set(self, state: State, pid: int | None, restarts: int | None = None) -> None:
        self.condition = Condition(
            name=self.child.name,
            state=state,
            pid=pid,
            restarts=self.condition.restarts if restarts is None else restarts,
            since=datetime.now(UTC),
        )
        self._changed()
