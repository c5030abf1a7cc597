"""Real Valkey and Temporal servers for tests, on free ports, one of each per test session."""

import asyncio
import subprocess
import time
import uuid
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client

from gateway.up.ports import free_port
from gateway.up.temporal import TemporalServer
from gateway.up.valkey import ValkeyServer

T = TypeVar("T")

Server = ValkeyServer | TemporalServer


def free_port_now() -> int:
    return _run(free_port())


def valkey_server(folder: Path) -> ValkeyServer:
    """A server on a free port, not started."""
    return ValkeyServer(folder=folder, port=free_port_now(), password="test-password")


def temporal_server(folder: Path) -> TemporalServer:
    """A server on free ports, not started."""
    port, ui_port, http_port, metrics_port = (free_port_now() for _ in range(4))
    return TemporalServer(folder=folder, port=port, ui_port=ui_port, http_port=http_port, metrics_port=metrics_port)


def start(server: Server) -> "subprocess.Popen[bytes]":
    """Start a server and wait until it answers; a test that kills it may start it again."""
    server.prepare()
    log = server.folder / "server.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            server.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=server.folder,
            env=server.environment or None,
        )
    deadline = time.monotonic() + 60
    while not _run(server.answers()):
        if process.poll() is not None or time.monotonic() > deadline:
            stop(process)
            pytest.fail(f"{server.command[0]} did not become ready:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)
    return process


def stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def running(server: Server) -> Iterator["subprocess.Popen[bytes]"]:
    """A server that answers inside the block and is gone after it."""
    process = start(server)
    try:
        yield process
    finally:
        stop(process)


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Valkey server for the whole session; tests share it, so they use keys of their own."""
    server = valkey_server(tmp_path_factory.mktemp("valkey"))
    with running(server):
        yield server.url


@pytest.fixture(scope="session")
def temporal_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Temporal server for the whole session; see `own_namespace`."""
    server = temporal_server(tmp_path_factory.mktemp("temporal"))
    with running(server):
        yield server.address


async def own_namespace(address: str) -> dict[str, str]:
    """Make a namespace, and return the ``TEMPORAL_*`` that lead there.

    Workers take what is on their queue, whoever put it there: of two with a database each, every one needs a namespace.
    """
    name = f"test-{uuid.uuid4().hex}"
    client = await Client.connect(address)
    retention = Duration(seconds=24 * 60 * 60)
    await client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=retention)
    )
    return {"TEMPORAL_ADDRESS": address, "TEMPORAL_NAMESPACE": name}


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    # In a thread of its own: a fixture may be asked for while the session's event loop runs.
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, coroutine).result()
