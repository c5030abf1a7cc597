import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from gateway.up import supervisor as supervisor_module
from gateway.up.child import Child, LogFile, Role
from gateway.up.errors import NotReady
from gateway.up.keeper import Backoff
from gateway.up.supervisor import Supervisor

# A child that says when it is ready by a file, ends by itself when a file says so, and notes when it was stopped.
SCRIPT = """
import pathlib, signal, sys, time
name, folder, stubborn = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3] == "stubborn"
def stop(*_):
    with (folder / "stops").open("a") as file:
        file.write(name + "\\n")
    if not stubborn:
        sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("hello from", name, flush=True)
(folder / f"{name}.ready").touch()
while not (folder / f"{name}.end").exists():
    time.sleep(0.01)
print("something is wrong", file=sys.stderr)
sys.exit(3)
"""


def child(folder: Path, name: str = "worker", *, role: Role = "worker", stubborn: bool = False) -> Child:
    async def answers() -> bool:
        return (folder / f"{name}.ready").exists()

    kind = "stubborn" if stubborn else "obedient"
    return Child(
        name=name,
        role=role,
        command=(sys.executable, "-c", SCRIPT, name, str(folder), kind),
        environment={},
        answers=answers,
    )


class Watched:
    """A supervisor, what it reported, and a way to wait for something about it."""

    def __init__(self, folder: Path, backoff: Backoff) -> None:
        self.reports: list[str] = []
        self._change = asyncio.Event()
        self.supervisor = Supervisor(
            folder / "logs",
            report=self._report,
            changed=self._change.set,
            backoff=backoff,
        )

    def _report(self, line: str) -> None:
        self.reports.append(line)
        self._change.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not condition():
                await self._change.wait()
                self._change.clear()


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    made = Watched(tmp_path, Backoff(first=0.05, longest=0.4))
    yield made
    await made.supervisor.stop()


async def test_a_child_that_dies_is_started_again_and_its_last_lines_are_shown(
    watched: Watched, tmp_path: Path
) -> None:
    await watched.supervisor.start(child(tmp_path))
    (first,) = watched.supervisor.conditions
    assert first.state == "ready"
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    await watched.until(lambda: watched.supervisor.conditions[0].restarts == 1)
    await watched.until(lambda: watched.supervisor.conditions[0].state == "ready")
    assert watched.supervisor.conditions[0].pid != first.pid
    assert watched.reports[0].startswith("worker was killed by SIGKILL; it is started again in 0.1 s. Its last lines:")
    assert "hello from worker" in watched.reports[0]
    assert "worker is ready again" in watched.reports[1]


async def test_a_child_that_keeps_dying_is_started_ever_more_slowly(watched: Watched, tmp_path: Path) -> None:
    await watched.supervisor.start(child(tmp_path))
    (tmp_path / "worker.end").touch()
    (tmp_path / "worker.ready").unlink()
    await watched.until(lambda: watched.supervisor.conditions[0].restarts == 4)
    delays = [line.split("again in ")[1].split(" s")[0] for line in watched.reports if "again in" in line]
    assert delays[:4] == ["0.1", "0.1", "0.2", "0.4"]
    assert "ended with exit code 3" in watched.reports[0]
    assert "something is wrong" in watched.reports[0]


def test_the_delay_before_a_restart_doubles_up_to_the_longest() -> None:
    backoff = Backoff(first=0.2, longest=15)
    assert [backoff.delay(deaths) for deaths in (1, 2, 3, 7, 8, 1000)] == [0.2, 0.4, 0.8, 12.8, 15, 15]


async def test_a_child_that_ends_while_starting_is_an_error_with_its_last_lines(
    watched: Watched, tmp_path: Path
) -> None:
    (tmp_path / "worker.end").touch()
    never_ready = child(tmp_path / "elsewhere")
    command = (sys.executable, "-c", "import sys; sys.exit('no such database')")
    with pytest.raises(NotReady, match=r"worker ended with exit code 1 while starting[\s\S]*no such database"):
        await watched.supervisor.start(
            Child(name="worker", role="worker", command=command, environment={}, answers=never_ready.answers)
        )
    assert watched.supervisor.conditions[0].restarts == 0


async def test_a_child_that_never_becomes_ready_is_an_error(watched: Watched, tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    silent = child(tmp_path)
    with pytest.raises(NotReady, match=r"worker was not ready within 0\.5 s"):
        await watched.supervisor.start(
            Child(name="worker", role="worker", command=silent.command, environment={}, answers=never), timeout=0.5
        )


async def test_the_api_stops_before_the_workers_and_the_workers_before_the_servers(
    watched: Watched, tmp_path: Path
) -> None:
    roles: dict[str, Role] = {"valkey": "server", "serve": "api", "internal-jobs": "worker"}
    await watched.supervisor.start(*(child(tmp_path, name, role=role) for name, role in roles.items()))
    pids = [condition.pid for condition in watched.supervisor.conditions]
    await watched.supervisor.stop()
    assert (tmp_path / "stops").read_text().split() == ["serve", "internal-jobs", "valkey"]
    assert not any(psutil.pid_exists(pid) for pid in pids if pid is not None)
    assert [condition.state for condition in watched.supervisor.conditions] == ["stopped"] * 3
    assert watched.reports == []


async def test_a_child_that_ignores_the_request_to_stop_is_killed(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "_STOP_ORDER", (("api", 0.2), ("worker", 0.5), ("server", 1.0)))
    await watched.supervisor.start(child(tmp_path, "valkey", role="server", stubborn=True))
    began = time.monotonic()
    await watched.supervisor.stop()
    assert 0.9 < time.monotonic() - began < 5
    assert watched.reports == ["valkey did not stop in its time and is killed"]
    assert watched.supervisor.conditions[0].pid is None


async def test_stop_does_not_wait_for_a_pending_restart(tmp_path: Path) -> None:
    watched = Watched(tmp_path, Backoff(first=60, longest=60))
    await watched.supervisor.start(child(tmp_path))
    pid = watched.supervisor.conditions[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await watched.until(lambda: watched.supervisor.conditions[0].state == "restarting")
    async with asyncio.timeout(2):
        await watched.supervisor.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_the_children_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    program = """
import asyncio, pathlib, sys
from gateway.up import supervisor as supervisor_module
from gateway.up.child import Child
from gateway.up.supervisor import Supervisor
async def ready(): return True
async def main():
    supervisor = Supervisor(pathlib.Path(sys.argv[1]), report=print)
    sleeper = (sys.executable, "-c", "import time; time.sleep(600)")
    await supervisor.start(Child(name="sleeper", role="server", command=sleeper, environment={}, answers=ready))
    print(supervisor.conditions[0].pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        sleeper = psutil.Process(int(process.stdout.readline()))
        assert os.getsid(sleeper.pid) == os.getsid(process.pid)
        process.kill()
        sleeper.wait(timeout=10)


def test_a_log_that_grew_too_long_is_set_aside_at_the_next_start(tmp_path: Path) -> None:
    log = LogFile(tmp_path, "valkey", limit=10)
    assert log.tail() == ""
    log.path.write_text("one\n\ntwo\nthree\n")
    assert log.tail(2) == "two\nthree"
    log.rotate()
    assert not log.path.exists()
    assert (tmp_path / "valkey.log.1").read_text().startswith("one")
