"""One supervised process: how it is started, when it is ready, how it ends."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

from msgspec import Struct

#: server  what the others need: started first, stopped last
#: api     takes requests: stopped first
#: worker  finishes what it has begun
Role = Literal["server", "api", "worker"]

_LOG_BYTES = 10 * 2**20
_PR_SET_PDEATHSIG = 1
_PROCESS_CONTROL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def _nothing() -> None:
    return None


class Child(Struct, frozen=True, kw_only=True):
    """What to run."""

    name: str
    role: Role
    command: tuple[str, ...]
    #: on top of our own environment
    environment: dict[str, str]
    #: where it is started; ``None``: where we are
    folder: Path | None = None
    #: whether it does its work by now
    answers: Callable[[], Awaitable[bool]]
    #: run before the first start, e.g. to write its configuration
    prepare: Callable[[], None] = _nothing


class LogFile:
    """What a process writes, in ``<name>.log``; at a start the file that grew too long becomes ``<name>.log.1``."""

    def __init__(self, folder: Path, name: str, *, limit: int = _LOG_BYTES) -> None:
        self.path = folder / f"{name}.log"
        self._limit = limit

    def rotate(self) -> None:
        if self.path.exists() and self.path.stat().st_size > self._limit:
            self.path.replace(self.path.with_name(f"{self.path.name}.1"))

    def tail(self, lines: int = 8) -> str:
        """Return the last lines that are not empty."""
        if not self.path.exists():
            return ""
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - 16_384))
            text = file.read().decode("utf-8", "replace")
        return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


async def spawn(child: Child, log: LogFile, *, keep_open: tuple[int, ...] = ()) -> asyncio.subprocess.Process:
    """Start the process in our session, but out of reach of the terminal's Ctrl-C, so that we decide who stops when.

    On Linux it is killed when we are. Elsewhere the lock that it inherits by `keep_open` guards the data folder
    until it ends.
    """
    log.rotate()
    parent = os.getpid()
    with log.path.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *child.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | child.environment,
            cwd=child.folder,
            pass_fds=keep_open,
            process_group=0,
            preexec_fn=lambda: _die_with(parent),
        )


def ending(code: int) -> str:
    """Say in words how a process with this return code ended."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _die_with(parent: int) -> None:
    # Runs in the child, between fork and exec.
    if _PROCESS_CONTROL is not None:
        _PROCESS_CONTROL(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
