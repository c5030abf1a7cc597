"""`gateway up` from outside: a real one, with everything that it starts."""

import os
import signal
import sys
import time
from pathlib import Path

import httpx
import psutil
from sqlalchemy import make_url

from tests.postgres import PROCESSES, make_role, own_database
from tests.running_up import NAMES, RunningUp, running_up
from tests.servers import running, temporal_server, valkey_server


def test_everything_that_dev_json_names_answers(gateway_up: RunningUp) -> None:
    dev = gateway_up.ready()
    own = {"Authorization": f"Bearer {dev.api_key}"}
    admin = {"Authorization": f"Bearer {dev.admin_key}"}
    with httpx.Client(base_url=dev.url, trust_env=False) as client:
        assert client.get("/health/ready").json()["status"] == "ok"
        assert client.get("/v1/me", headers=own).json()["role"] == "owner"
        assert client.get("/v1/me", headers=admin).json()["role"] == "admin"
        assert client.get(dev.mail_url).status_code == 200
        assert client.get(dev.temporal_ui).status_code == 200


def test_the_demo_shows_both_mails_and_the_gateway_keeps_serving(gateway_up: RunningUp) -> None:
    dev = gateway_up.ready()
    await_in(gateway_up, "Ctrl-C stops everything")
    assert "AAPL is down 9.25 %" in gateway_up.said()
    assert "Receipt: alerts@example.com was told about AAPL" in gateway_up.said()
    mails = httpx.get(dev.mail_url).json()
    assert {mail["to"] for mail in mails} >= {"alerts@example.com", "receipts@example.com"}
    assert gateway_up.process.poll() is None


def test_the_children_are_in_the_session_of_up_and_say_what_they_are(gateway_up: RunningUp) -> None:
    gateway_up.ready()
    children = gateway_up.children()
    assert children.keys() == NAMES
    assert {os.getsid(child.pid) for child in children.values()} == {os.getsid(gateway_up.process.pid)}


def test_a_second_up_on_the_same_folder_is_refused_by_pid_and_url(gateway_up: RunningUp) -> None:
    dev = gateway_up.ready()
    second = RunningUp(gateway_up.folder.path, "--host", "127.0.0.1")
    assert second.process.wait(timeout=30) == 1
    assert f"pid {gateway_up.process.pid}" in second.said().replace("\n", " ")
    assert dev.url in second.said()
    assert gateway_up.process.poll() is None
    assert gateway_up.folder.read_dev() == dev


def test_a_taken_port_is_named_with_the_way_out(gateway_up: RunningUp, tmp_path: Path) -> None:
    port = gateway_up.ready().url.rpartition(":")[2]
    second = RunningUp(tmp_path / "data", "--port", port)
    assert second.process.wait(timeout=30) == 1
    assert f"Port {port} on 127.0.0.1 is taken" in second.said()
    assert "--port 0" in second.said()


def test_a_killed_child_is_back_within_seconds_and_the_log_says_so(gateway_up: RunningUp) -> None:
    dev = gateway_up.ready()
    before = gateway_up.children()["serve"]
    before.kill()
    before.wait(timeout=10)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{dev.url}/health/live", trust_env=False).is_success:
                break
        except httpx.TransportError:
            time.sleep(0.05)
    assert gateway_up.children()["serve"].pid != before.pid
    assert "serve was killed by SIGKILL; it is started again in 0.2 s" in gateway_up.said()


def test_up_finds_its_data_after_a_kill_and_stops_within_15_seconds_leaving_nothing(tmp_path: Path) -> None:
    with running_up(tmp_path / "data") as first:
        dev = first.ready()
        own = {"Authorization": f"Bearer {dev.api_key}"}
        made = httpx.post(f"{dev.url}/v1/workflows", headers=own, json={"name": "kept", "definition": {"nodes": []}})
        assert made.status_code == 201
        children = list(first.children().values())
        first.process.kill()
        first.process.wait()
        if sys.platform == "linux":  # elsewhere the lock keeps the next one away until they have ended
            _, alive = psutil.wait_procs(children, timeout=10)
            assert alive == []
    with running_up(tmp_path / "data") as second:
        again = second.ready()
        same = ("api_key", "admin_key", "redis_url", "temporal_address", "temporal_ui", "mail_url")
        assert [getattr(again, name) for name in same] == [getattr(dev, name) for name in same]
        found = httpx.get(f"{again.url}/v1/workflows/{made.json()['id']}", headers=own)
        assert found.json()["name"] == "kept"
        children = list(second.children().values())
        assert second.stop(signal.SIGTERM) < 15
        assert second.process.returncode == 0
        assert [child for child in children if child.is_running()] == []
        assert not second.folder.is_held()
        assert second.folder.read_dev() is None


def test_up_that_is_asked_to_stop_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    with running_up(tmp_path / "data") as starting:
        deadline = time.monotonic() + 60
        while "temporal" not in starting.children() and time.monotonic() < deadline:
            time.sleep(0.05)
        children = starting.children()
        assert starting.stop(signal.SIGINT) < 15
        assert starting.process.returncode == 0
        assert [name for name, child in children.items() if child.is_running()] == []


async def test_servers_that_the_environment_names_are_used_and_the_example_runs_on_postgresql(
    tmp_path: Path, postgres_url: str
) -> None:
    owner = make_url(await own_database(postgres_url, "up"))
    await make_role(postgres_url)
    valkey, temporal = valkey_server(tmp_path / "valkey"), temporal_server(tmp_path / "temporal")
    environment = {
        # The processes under row-level security, as a role that owns nothing.
        "GATEWAY_DATABASE_URL": owner.set(username=PROCESSES).render_as_string(hide_password=False),
        "GATEWAY_DATABASE_OWNER_URL": owner.render_as_string(hide_password=False),
        "GATEWAY_REDIS_URL": valkey.url,
        "TEMPORAL_ADDRESS": temporal.address,
    }
    with running(valkey), running(temporal), running_up(tmp_path / "data", "--demo", environment=environment) as up:
        dev = up.ready()
        assert up.children().keys() == NAMES - {"valkey", "temporal"}
        assert dev.temporal_address == temporal.address
        assert dev.redis_url == valkey.url
        assert dev.database_url == environment["GATEWAY_DATABASE_URL"]
        await_in(up, "Ctrl-C stops everything")
        assert "Receipt: alerts@example.com was told about AAPL" in up.said()
        assert not (tmp_path / "data" / "gateway.db").exists()
        up.stop()


def await_in(up: RunningUp, expected: str) -> None:
    deadline = time.monotonic() + 60
    while expected not in up.said() and time.monotonic() < deadline:
        time.sleep(0.1)
