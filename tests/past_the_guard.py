"""The whole suite runs under the interpreter's audit of sockets: what connects past the guard fails its test.

Nothing may leave this machine, and what a plugin connects to must be what the guard has let through. What runs in the
tests' own process is seen, and nothing else.
"""

import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from ipaddress import ip_address
from types import FrameType
from typing import Any

import pytest

from plugins.egress.addresses import Address, parse_address
from plugins.egress.guard import Guard
from plugins.host import perform

#: whether a plugin's own code is at work
in_plugin: ContextVar[bool] = ContextVar("in_plugin", default=False)

#: what the guard has let through
let_through: set[tuple[Address, int]] = set()

violations: list[str] = []

#: the stores that chores of our own work with, in plugins too
_STORES = ("redis.",)
_POSTGRES = "/tmp/gw-pg-"


class PastTheGuard(OSError):
    """A connection that the guard was not asked about. As any other that fails, it makes its owner close the socket."""


def audit(event: str, args: tuple[Any, ...]) -> None:
    if event != "socket.connect":
        return
    place = args[1]
    reason = _unix_fault(place) if isinstance(place, str | bytes) else _fault(place[0], place[1])
    if reason is not None:
        violations.append(f"{place}: {reason}")
        raise PastTheGuard(violations[-1])


def _unix_fault(path: str | bytes) -> str | None:
    text = path if isinstance(path, str) else path.decode(errors="replace")
    return "a plugin reaches a socket of this machine" if in_plugin.get() and not text.startswith(_POSTGRES) else None


def _fault(host: str, port: int) -> str | None:
    address = parse_address(host)
    if not ip_address(address).is_loopback:
        return "a test leaves this machine"
    if in_plugin.get() and (address, port) not in let_through and not _is_by(_STORES):
        return "a plugin connects without the guard"
    return None


def _is_by(packages: tuple[str, ...]) -> bool:
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(packages):
            return True
        frame = frame.f_back
    return False


def _watched(run: Callable[..., Any]) -> Callable[..., Any]:
    async def running(*arguments: Any, **options: Any) -> Any:
        token = in_plugin.set(True)
        try:
            return await run(*arguments, **options)
        finally:
            in_plugin.reset(token)

    return running


@pytest.fixture(scope="session", autouse=True)
def _watch_connections() -> Iterator[None]:
    patch, check = pytest.MonkeyPatch(), Guard.check

    def checked(self: Guard, host: str, port: int, address: Address) -> None:
        check(self, host, port, address)
        let_through.add((address, port))

    patch.setattr(Guard, "check", checked)
    for name in ("run_in_task", "run_in_thread"):
        patch.setattr(perform, name, _watched(getattr(perform, name)))
    sys.addaudithook(audit)
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def _nothing_goes_past_the_guard() -> Iterator[None]:
    violations.clear()
    yield
    assert violations == []
