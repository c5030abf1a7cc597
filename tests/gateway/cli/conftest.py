"""An installation as production runs it, each process by its own command, and the command line that talks to it."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from tests.servers import free_port_now, stop

Gateway = Callable[..., Result]


@pytest.fixture(scope="session")
def installation(
    tmp_path_factory: pytest.TempPathFactory, valkey_url: str, temporal_address: str
) -> Iterator[dict[str, str]]:
    """The environment of a terminal at a real API: GATEWAY_URL, an owner's key and the administrator's."""
    folder = tmp_path_factory.mktemp("installation")
    port = free_port_now()
    admin_key = secrets.token_urlsafe(32)
    settings = {
        "GATEWAY_DATABASE_URL": f"sqlite:///{folder}/gateway.db",
        "GATEWAY_REDIS_URL": valkey_url,
        "GATEWAY_MASTER_KEY_FILE": f"{folder}/master.key",
        "GATEWAY_ADMIN_KEY": admin_key,
        "GATEWAY_PORT": str(port),
        "TEMPORAL_ADDRESS": temporal_address,
    }
    command = [sys.executable, "-P", "-m", "gateway"]
    environ = os.environ | settings
    for step in (["master-key"], ["migrate"]):
        subprocess.run([*command, *step], check=True, env=environ, cwd=folder, stdout=subprocess.DEVNULL)
    log = folder / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "serve"], env=environ, cwd=folder, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"
    try:
        _await_ready(url, process, log)
        terminal = {"GATEWAY_URL": url, "GATEWAY_ADMIN_KEY": admin_key}
        tenant = json.loads(_invoke(terminal, "tenant", "create", "Acme", "--json").stdout)
        key = json.loads(_invoke(terminal, "key", "create-for", tenant["id"], "--name", "test", "--json").stdout)
        yield settings | terminal | {"GATEWAY_API_KEY": key["key"]}
    finally:
        stop(process)


@pytest.fixture
def gateway(installation: dict[str, str]) -> Gateway:
    """Call the command line as an owner of a tenant."""

    def call(*arguments: str, env: dict[str, str] | None = None, stdin: Any = None) -> Result:
        return _invoke(installation | (env or {}), *arguments, stdin=stdin)

    return call


@pytest.fixture
def definition_file(tmp_path: Path) -> Path:
    """A definition that needs nothing outside."""
    file = tmp_path / "hello.json"
    nodes = [{"id": "hello", "pluginId": "set", "config": {"values": {"text": "hello {{ input.name }}"}}}]
    file.write_text(json.dumps({"name": "Hello", "nodes": nodes}))
    return file


def _invoke(env: dict[str, str], *arguments: str, stdin: Any = None) -> Result:
    blank = {name: None for name in os.environ if name.startswith(("GATEWAY_", "TEMPORAL_"))}
    return CliRunner(env={**blank, **env}).invoke(main, arguments, input=stdin, catch_exceptions=False)


def _await_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if httpx.get(f"{url}/health/ready", trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"`gateway serve` did not become ready:\n{log.read_text()[-3000:]}")
        time.sleep(0.05)
