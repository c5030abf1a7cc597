"""A real `gateway up` in a process of its own, as tests start, ask and stop it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from gateway.up.folder import DataFolder, DevFile

NAMES = {"valkey", "temporal", "sandbox", "serve", "user-workflows", "internal-jobs"}


class RunningUp:
    """A `gateway up` in a process of its own."""

    def __init__(self, data_dir: Path, *options: str, environment: Mapping[str, str] | None = None) -> None:
        self.folder = DataFolder(data_dir)
        self.output = data_dir.with_suffix(".out")
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "gateway", "up", "--data-dir", str(data_dir), "--port", "0", *options],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**_bare_environment(), **(environment or {})},
            )

    def ready(self, timeout: float = 90) -> DevFile:
        deadline = time.monotonic() + timeout
        while (dev := self._dev()) is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"`gateway up` did not become ready:\n{self.said()}")
            time.sleep(0.05)
        return dev

    def _dev(self) -> DevFile | None:
        # What an earlier `up` left when it was killed is not ours.
        state = self.folder.read_state()
        return self.folder.read_dev() if state is not None and state.pid == self.process.pid else None

    def said(self) -> str:
        return self.output.read_text()

    def children(self) -> dict[str, psutil.Process]:
        """The supervised processes, found as an operator would: by their command lines."""
        found = {child: child.cmdline() for child in psutil.Process(self.process.pid).children(recursive=True)}
        return {
            name: child
            for child, line in found.items()
            for name in NAMES
            # One that is just being started, or has just ended, has no command line.
            if name in line or Path(line[0] if line else "").name.startswith(name)
        }

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Ask it to stop; return the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout=30)
        return time.monotonic() - began


@contextmanager
def running_up(data_dir: Path, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[RunningUp]:
    up = RunningUp(data_dir, *options, environment=environment)
    try:
        yield up
    finally:
        up.process.kill()
        up.process.wait()


@pytest.fixture(scope="session")
def gateway_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUp]:
    """One `gateway up --demo` for every test that only asks it something, or that it recovers from."""
    with running_up(tmp_path_factory.mktemp("up") / "data", "--demo") as started:
        started.ready()
        yield started


def _bare_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "TEMPORAL_"))}
