"""One `gateway up`, from taking the data folder to leaving it."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from gateway.errors import SettingsError
from gateway.local_url import local_url
from gateway.settings import load
from gateway.up.bootstrap import bootstrap
from gateway.up.errors import PortTaken, UpError
from gateway.up.folder import DataFolder, DevFile, UpState
from gateway.up.ports import Ports, free_port, is_free
from gateway.up.processes import plan_processes
from gateway.up.services import plan_services
from gateway.up.supervisor import Supervisor

T = TypeVar("T")

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: a Python process on a busy machine, or a database with much to migrate, takes its time
_READY_TIMEOUT = 120.0


class Options(Struct, frozen=True, kw_only=True):
    data_dir: Path
    host: str
    #: 0 takes a free one
    port: int
    environ: Mapping[str, str]


class Session:
    """Starts everything, keeps it running until a signal asks to stop, and stops it.

    Args:
        progress: is told what is being done now.
        report: is told a line worth keeping, which is also kept in ``logs/up.log``.
    """

    def __init__(self, options: Options, *, progress: Callable[[str], None], report: Callable[[str], None]) -> None:
        self.folder = DataFolder(options.data_dir)
        self._options = options
        self._progress = progress
        self._report = report
        self._stop = asyncio.Event()
        self._supervisor: Supervisor | None = None
        self._url = ""
        self._began = datetime.now(UTC)

    async def run(self, ready: Callable[[DevFile], Awaitable[None]]) -> None:
        """Return after a signal, when everything has stopped; `ready` runs beside once ``dev.json`` is written.

        Raises:
            UpError: it cannot start; whatever had started has been stopped.
        """
        loop = asyncio.get_running_loop()
        for number in _signals():
            loop.add_signal_handler(number, self._on_signal)
        try:
            async with self.folder.hold() as lock:
                await self._run(lock, ready)
        finally:
            for number in _STOP_SIGNALS:
                loop.remove_signal_handler(number)

    async def _run(self, lock: int, ready: Callable[[DevFile], Awaitable[None]]) -> None:
        self.folder.remove_dev()  # what a killed `up` left
        self._supervisor = supervisor = Supervisor(
            self.folder.logs, report=self._log, changed=self._write_state, keep_open=(lock,)
        )
        try:
            dev = await self._unless_stopped(self._start(supervisor))
            if dev is not None:
                self.folder.write_dev(dev)
                await self._unless_stopped(ready(dev))
                await self._stop.wait()
        finally:
            self.folder.remove_dev()
            self._progress("Stopping")
            await supervisor.stop()
            self._write_state()

    async def _start(self, supervisor: Supervisor) -> DevFile:
        options = self._options
        port = options.port or await free_port(options.host)
        if not await is_free(options.host, port):
            raise PortTaken(options.host, port)
        self._url = local_url(options.host, port)
        self._write_state()
        ports = Ports(self.folder.path / "ports.json")
        services = await plan_services(self.folder, ports, options.environ)
        settings = services.environment
        _check_settings({**options.environ, **settings})
        names = ", ".join(child.name for child in services.servers)
        self._progress(f"Preparing the database, starting {names}")
        keys, _ = await asyncio.gather(
            bootstrap(
                self.folder,
                database_url=settings["GATEWAY_DATABASE_URL"],
                owner_url=settings.get("GATEWAY_DATABASE_OWNER_URL"),
                master_key_file=Path(settings["GATEWAY_MASTER_KEY_FILE"]),
                key_pepper_file=Path(settings["GATEWAY_KEY_PEPPER_FILE"]),
                admin_key=settings.get("GATEWAY_ADMIN_KEY"),
            ),
            supervisor.start(*services.servers, timeout=_READY_TIMEOUT),
        )
        # The processes need not know how the owner of the tables gets in.
        settings = settings | {"GATEWAY_ADMIN_KEY": keys.admin_key, "GATEWAY_DATABASE_OWNER_URL": ""}
        processes = await plan_processes(settings, ports, host=options.host, port=port)
        self._progress("Starting the API and the workers")
        await supervisor.start(*processes, timeout=_READY_TIMEOUT)
        return DevFile(
            url=self._url,
            api_key=keys.api_key,
            admin_key=keys.admin_key,
            temporal_address=services.temporal_address,
            temporal_ui=services.temporal_ui,
            redis_url=settings["GATEWAY_REDIS_URL"],
            database_url=settings["GATEWAY_DATABASE_URL"],
            mail_url=services.mail_url,
        )

    async def _unless_stopped(self, awaitable: Awaitable[T]) -> T | None:
        """Return the result, or ``None`` when a signal asks to stop first."""
        work = asyncio.ensure_future(awaitable)
        stopped = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if work.done():
            return work.result()
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        return None

    def _on_signal(self) -> None:
        if self._stop.is_set() and self._supervisor is not None:
            self._supervisor.kill()  # asked twice: in a hurry
        self._stop.set()

    def _log(self, line: str) -> None:
        with (self.folder.logs / "up.log").open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}\n")
        self._report(line)

    def _write_state(self) -> None:
        conditions = self._supervisor.conditions if self._supervisor is not None else ()
        self.folder.write_state(UpState(pid=os.getpid(), url=self._url, started_at=self._began, children=conditions))


def _check_settings(environ: Mapping[str, str]) -> None:
    # Now, and once: else every process would end by the same fault.
    try:
        load(environ)
    except SettingsError as error:
        raise UpError(f"The settings are not right: {error}") from None


def _signals() -> list[signal.Signals]:
    # Who starts us with `nohup` wants us to outlive the terminal.
    return [n for n in _STOP_SIGNALS if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]
