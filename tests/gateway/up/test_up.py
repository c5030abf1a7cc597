"""`gateway up` from outside: a real one, with everything that it starts."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from gateway.up.folder import DataFolder, DevFile

NAMES = {"valkey", "temporal", "sandbox", "serve", "user-workflows", "internal-jobs"}


class RunningUp:
    """A `gateway up` in a process of its own."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.folder = DataFolder(data_dir)
        self.output = data_dir.with_suffix(".out")
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "gateway", "up", "--data-dir", str(data_dir), "--port", "0", *options],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={
                    name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "TEMPORAL_"))
                },
            )

    def ready(self, timeout: float = 90) -> DevFile:
        deadline = time.monotonic() + timeout
        while (dev := self.folder.read_dev()) is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"`gateway up` did not become ready:\n{self.said()}")
            time.sleep(0.05)
        return dev

    def said(self) -> str:
        return self.output.read_text()

    def children(self) -> dict[str, psutil.Process]:
        """The supervised processes, found as an operator would: by their command lines."""
        found = {child: child.cmdline() for child in psutil.Process(self.process.pid).children(recursive=True)}
        return {
            name: child
            for child, line in found.items()
            for name in NAMES
            if name in line or Path(line[0]).name.startswith(name)
        }

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Ask it to stop; return the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout=30)
        return time.monotonic() - began


@contextmanager
def running_up(data_dir: Path, *options: str) -> Iterator[RunningUp]:
    up = RunningUp(data_dir, *options)
    try:
        yield up
    finally:
        up.process.kill()
        up.process.wait()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUp]:
    with running_up(tmp_path_factory.mktemp("up") / "data") as started:
        started.ready()
        yield started


def test_everything_that_dev_json_names_answers(up: RunningUp) -> None:
    dev = up.ready()
    own = {"Authorization": f"Bearer {dev.api_key}"}
    admin = {"Authorization": f"Bearer {dev.admin_key}"}
    with httpx.Client(base_url=dev.url, trust_env=False) as client:
        assert client.get("/health/ready").json()["status"] == "ok"
        assert client.get("/v1/me", headers=own).json()["role"] == "owner"
        assert client.get("/v1/me", headers=admin).json()["role"] == "admin"
        assert client.get(dev.mail_url).json() == []
        assert client.get(dev.temporal_ui).status_code == 200


def test_the_children_are_in_the_session_of_up_and_say_what_they_are(up: RunningUp) -> None:
    up.ready()
    children = up.children()
    assert children.keys() == NAMES
    assert {os.getsid(child.pid) for child in children.values()} == {os.getsid(up.process.pid)}


def test_a_second_up_on_the_same_folder_is_refused_by_pid_and_url(up: RunningUp) -> None:
    dev = up.ready()
    second = RunningUp(up.folder.path, "--host", "127.0.0.1")
    assert second.process.wait(timeout=30) == 1
    assert f"pid {up.process.pid}" in second.said().replace("\n", " ")
    assert dev.url in second.said()
    assert up.process.poll() is None
    assert up.folder.read_dev() == dev


def test_a_taken_port_is_named_with_the_way_out(up: RunningUp, tmp_path: Path) -> None:
    port = up.ready().url.rpartition(":")[2]
    second = RunningUp(tmp_path / "data", "--port", port)
    assert second.process.wait(timeout=30) == 1
    assert f"Port {port} on 127.0.0.1 is taken" in second.said()
    assert "--port 0" in second.said()


def test_a_killed_child_is_back_within_seconds_and_the_log_says_so(up: RunningUp) -> None:
    dev = up.ready()
    before = up.children()["serve"]
    before.kill()
    before.wait(timeout=10)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{dev.url}/health/live", trust_env=False).is_success:
                break
        except httpx.TransportError:
            time.sleep(0.05)
    assert up.children()["serve"].pid != before.pid
    assert "serve was killed by SIGKILL; it is started again in 0.2 s" in up.said()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_up_stops_within_15_seconds_leaves_nothing_and_finds_its_data_again(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running_up(tmp_path / "data") as first:
        dev = first.ready()
        own = {"Authorization": f"Bearer {dev.api_key}"}
        made = httpx.post(f"{dev.url}/v1/workflows", headers=own, json={"name": "kept", "definition": {"nodes": []}})
        assert made.status_code == 201
        children = first.children()
        assert first.stop(number) < 15
        assert first.process.returncode == 0
        assert not first.folder.is_held()
        assert [name for name, child in children.items() if child.is_running()] == []
        assert first.folder.read_dev() is None
    with running_up(tmp_path / "data") as second:
        again = second.ready()
        assert again.api_key == dev.api_key
        assert again.redis_url == dev.redis_url
        assert again.temporal_address == dev.temporal_address
        found = httpx.get(f"{again.url}/v1/workflows/{made.json()['id']}", headers=own)
        assert found.json()["name"] == "kept"
        second.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_nothing_outlives_an_up_that_is_killed(tmp_path: Path) -> None:
    with running_up(tmp_path / "data") as first:
        first.ready()
        children = list(first.children().values())
        first.process.kill()
        first.process.wait()
        _, alive = psutil.wait_procs(children, timeout=10)
        assert alive == []
    with running_up(tmp_path / "data") as second:
        second.ready()
        second.stop()


def test_the_demo_ends_with_both_mails_and_keeps_serving(tmp_path: Path) -> None:
    with running_up(tmp_path / "data", "--demo") as first:
        dev = first.ready()
        deadline = time.monotonic() + 60
        while "Ctrl-C stops everything" not in first.said() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert "AAPL is down" in first.said()
        assert "Receipt:" in first.said()
        assert {mail["to"] for mail in httpx.get(dev.mail_url).json()} == {"alerts@example.com", "receipts@example.com"}
        assert first.process.poll() is None
        first.stop()
