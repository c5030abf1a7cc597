"""The data folder: what lies where, and the lock that lets one `up` at a time have it."""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct
from sqlalchemy.engine import URL

from gateway.up.errors import AlreadyRunning, UpError
from gateway.up.files import private_folder, write_private
from gateway.up.keeper import Condition

T = TypeVar("T")

_LEFTOVER_PATIENCE = 15.0


class DevFile(Struct, frozen=True, kw_only=True, rename="camel"):
    """``dev.json``: how to reach what `up` started. Exists exactly while everything is ready."""

    url: str
    #: owner of tenant ``dev``
    api_key: str
    #: the installation's administrator
    admin_key: str
    temporal_address: str
    #: empty when Temporal runs elsewhere
    temporal_ui: str
    redis_url: str
    database_url: str
    mail_url: str


class UpState(Struct, frozen=True, kw_only=True, rename="camel"):
    """``up.json``: who holds the folder and how its children are; kept after the end for the curious."""

    pid: int
    url: str
    started_at: datetime
    children: tuple[Condition, ...]


class DataFolder:
    """Paths and small files of one data folder.

    Args:
        path: made when it is not there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    @property
    def database_url(self) -> str:
        return URL.create("sqlite", database=str(self.path / "gateway.db")).render_as_string()

    @property
    def key_pepper_file(self) -> Path:
        return self.path / "keys.pepper"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def read_dev(self) -> DevFile | None:
        return _read(self.path / "dev.json", DevFile)

    def write_dev(self, dev: DevFile) -> None:
        write_private(self.path / "dev.json", msgspec.json.format(msgspec.json.encode(dev)) + b"\n")

    def remove_dev(self) -> None:
        (self.path / "dev.json").unlink(missing_ok=True)

    def read_state(self) -> UpState | None:
        return _read(self.path / "up.json", UpState)

    def write_state(self, state: UpState) -> None:
        write_private(self.path / "up.json", msgspec.json.format(msgspec.json.encode(state)) + b"\n")

    def is_held(self) -> bool:
        """Whether an `up`, or a process that outlived one, has this folder."""
        lock = self.path / "up.lock"
        if not lock.exists():
            return False
        descriptor = os.open(lock, os.O_RDWR)
        try:
            return not _try_lock(descriptor)
        finally:
            os.close(descriptor)

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[int]:
        """Have the folder to ourselves; yields the descriptor of the lock, for children to inherit.

        The lock is shared with whoever inherits it and ends with the last of them, so that no server is ever started
        on data that an earlier server still uses.

        Raises:
            AlreadyRunning: another `up` has it, or its children will not end.
        """
        try:
            private_folder(self.path)
        except OSError as error:
            raise UpError(
                f"{self.path} cannot be the data folder: {error.strerror}. Name another with --data-dir."
            ) from None
        descriptor = os.open(self.path / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            await self._lock(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    async def _lock(self, descriptor: int) -> None:
        deadline = time.monotonic() + _LEFTOVER_PATIENCE
        while not _try_lock(descriptor):
            state = self.read_state()
            if state is not None and is_alive(state.pid):
                raise AlreadyRunning(
                    f"A gateway already runs on {self.path} (pid {state.pid}, {state.url}). "
                    "See `gateway status`, stop it with `gateway down`, or choose another folder with --data-dir."
                )
            if time.monotonic() > deadline:
                raise AlreadyRunning(self._leftovers(state))
            await asyncio.sleep(0.1)

    def _leftovers(self, state: UpState | None) -> str:
        alive = [child for child in state.children if child.pid and is_alive(child.pid)] if state else []
        names = ", ".join(f"{child.name} (pid {child.pid})" for child in alive) or "a process that it started"
        return f"An earlier gateway on {self.path} is gone, but {names} still runs. End it, then start again."


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(path: Path, type: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=type)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
