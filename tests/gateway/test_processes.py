"""The processes themselves: they start alone, tell their figures, and drain when asked to stop."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from gateway.compose import open_platform
from gateway.settings import load
from gateway.up.ports import free_port
from internal_jobs.client import JobRequest
from plugins.vault.keys import MasterKey
from tests.gateway.application import ADMIN_KEY, Headers, new_tenant
from tests.servers import own_namespace
from tests.sqlite import new_sqlite

Environment = dict[str, str]

WAIT = {"nodes": [{"id": "hold", "pluginId": "wait", "config": {"duration": "2s"}}]}


@pytest.fixture
async def environment(tmp_path: Path, valkey_url: str, temporal_address: str) -> Environment:
    """What a process needs to know, over an empty, migrated database."""
    MasterKey.create(tmp_path / "master.key")
    return {
        "GATEWAY_DATABASE_URL": new_sqlite(tmp_path / "gateway.db"),
        "GATEWAY_REDIS_URL": valkey_url,
        "GATEWAY_MASTER_KEY_FILE": str(tmp_path / "master.key"),
        "GATEWAY_ADMIN_KEY": ADMIN_KEY,
        "GATEWAY_PORT": str(await free_port()),
        "GATEWAY_METRICS_PORT": str(await free_port()),
    } | await own_namespace(temporal_address)


@asynccontextmanager
async def process(name: str, environment: Environment, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run one function of `gateway.processes` as a process; killed at the end where it still lives."""
    code = (
        "import asyncio, os; from gateway import processes; from gateway.settings import load; "
        f"asyncio.run(processes.{name}(load(os.environ)))"
    )
    with log.open("wb") as output:
        started = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, env=os.environ | environment, stderr=output, stdout=output
        )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def until_it_answers(url: str, child: asyncio.subprocess.Process) -> httpx.Response:
    async with asyncio.timeout(40), httpx.AsyncClient() as client:
        while child.returncode is None:
            try:
                return await client.get(url)
            except httpx.TransportError:
                await asyncio.sleep(0.05)
    pytest.fail("the process ended early")


async def stop(child: asyncio.subprocess.Process) -> int:
    child.send_signal(signal.SIGTERM)
    async with asyncio.timeout(12):
        return await child.wait()


def lines(log: Path) -> Iterator[dict[str, object]]:
    yield from (json.loads(line) for line in log.read_text().splitlines())


async def test_the_api_lets_requests_finish_and_both_workers_drain(environment: Environment, tmp_path: Path) -> None:
    api = f"http://127.0.0.1:{environment['GATEWAY_PORT']}"
    figures = f"http://127.0.0.1:{environment['GATEWAY_METRICS_PORT']}/metrics"
    log = tmp_path / "serve.log"
    async with open_platform(load(environment)) as platform:
        owner: Headers = await new_tenant(platform)
    async with (
        process("serve", environment, log) as serving,
        process("run_user_workflows_worker", environment, tmp_path / "worker.log") as worker,
        httpx.AsyncClient(base_url=api, headers=owner, timeout=30) as client,
    ):
        assert (await until_it_answers(f"{api}/health/ready", serving)).json()["status"] == "ok"
        assert "python_info" in (await until_it_answers(figures, worker)).text
        made = await client.post("/v1/workflows", json={"name": "Wait", "definition": WAIT})
        where = made.headers["location"]
        await client.post(f"{where}/versions")
        waiting = asyncio.create_task(client.post(f"{where}/executions", headers={"Prefer": "wait=20"}))
        async with asyncio.timeout(60):
            while not (await client.get("/v1/executions?status=running")).json()["items"]:
                await asyncio.sleep(0.05)
        stopping = asyncio.create_task(stop(serving))
        finished = await waiting
        assert (finished.status_code, finished.json()["status"]) == (200, "completed")
        assert await stopping == 0
        assert await stop(worker) == 0
    answered = [line for line in lines(log) if line["event"] == "request.answered"]
    last = answered[-1]
    assert last["route"] == "/v1/workflows/{workflow_id}/executions"
    assert last["execution_id"] == finished.json()["id"]
    assert last["trace_id"] == finished.headers["traceparent"].split("-")[1]
    assert {"tenant_id", "timestamp", "level", "process"} <= last.keys()


async def test_a_watcher_does_not_hold_up_the_end(environment: Environment, tmp_path: Path) -> None:
    api = f"http://127.0.0.1:{environment['GATEWAY_PORT']}"
    async with open_platform(load(environment)) as platform:
        owner: Headers = await new_tenant(platform)
    log = tmp_path / "serve.log"
    async with process("serve", environment, log) as serving, httpx.AsyncClient(headers=owner, timeout=30) as client:
        await until_it_answers(f"{api}/health/live", serving)
        async with client.stream("GET", f"{api}/v1/events/stream") as stream:
            told = stream.aiter_lines()
            async with asyncio.timeout(10):
                while "event: snapshot" not in await anext(told):
                    pass
            stopping = asyncio.create_task(stop(serving))
            # The stream ends as a stream ends, before anybody would have to cut it off.
            async with asyncio.timeout(7):
                rest = [line async for line in told]
        assert any(line.startswith("data: ") for line in rest)
        assert await stopping == 0
    assert all(line["level"] == "info" for line in lines(log))


async def test_a_client_that_only_writes_then_reads_hears_why_its_body_was_refused(
    environment: Environment, tmp_path: Path
) -> None:
    port = int(environment["GATEWAY_PORT"])
    async with process("serve", environment, tmp_path / "serve.log") as serving:
        await until_it_answers(f"http://127.0.0.1:{port}/health/live", serving)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        size = 8 * 2**20
        head = ("POST /v1/tenants HTTP/1.1", "Host: x", f"Authorization: Bearer {ADMIN_KEY}", f"Content-Length: {size}")
        writer.write("\r\n".join((*head, "", "")).encode() + b"x" * size)
        await writer.drain()
        assert (await reader.readline()).startswith(b"HTTP/1.1 413")
        writer.close()
        await writer.wait_closed()


async def test_the_jobs_worker_purges_and_drains(environment: Environment, tmp_path: Path) -> None:
    figures = f"http://127.0.0.1:{environment['GATEWAY_METRICS_PORT']}/metrics"
    async with process("run_internal_jobs_worker", environment, tmp_path / "worker.log") as worker:
        async with asyncio.timeout(40):
            text = (await until_it_answers(figures, worker)).text
            while "retention.purge" not in text:
                await asyncio.sleep(0.05)
                text = (await until_it_answers(figures, worker)).text
        assert await stop(worker) == 0


async def test_a_cell_runs_the_job_it_is_told_and_ends_with_its_input(environment: Environment, tmp_path: Path) -> None:
    """What the jobs worker starts for a suspect, by the command that it is started by."""
    async with open_platform(load(environment)) as platform:
        await new_tenant(platform)
        async with platform.database.across.read() as connection:
            tenant = (await connection.exec_driver_sql("SELECT id FROM tenants")).scalar_one()
        made = await platform.jobs.enqueue(tenant, JobRequest(type="job.enqueue", payload={"type": "job.enqueue"}))
        async with platform.database.across.transaction() as connection:
            # As a relay does it, and the death of a worker.
            published = "UPDATE jobs SET redeliveries = 1, sequence = 1, published_at = created_at"
            await connection.exec_driver_sql(published)
        answers, pipe = os.pipe()
        command = (sys.executable, "-P", "-m", "gateway", "worker", "internal-jobs", "--cell", str(pipe))
        with (tmp_path / "cell.log").open("wb") as log:
            cell = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=log, env=os.environ | environment, pass_fds=(pipe,)
            )
        os.close(pipe)
        assert cell.stdin is not None
        async with asyncio.timeout(60):
            assert await asyncio.to_thread(os.read, answers, 1) == b"."
            cell.stdin.write(f"{tenant} {made.id} 1\n".encode())
            assert await asyncio.to_thread(os.read, answers, 1) == b"."
            cell.stdin.close()
            assert await cell.wait() == 0
        os.close(answers)
        ended = await platform.jobs.get(tenant, made.id)
    assert ended is not None
    assert ended.status == "completed"


async def test_a_worker_serves_generated_code(environment: Environment, tmp_path: Path) -> None:
    """A version written by the API runs as Python, in an execution like any other."""
    api = f"http://127.0.0.1:{environment['GATEWAY_PORT']}"
    figures = f"http://127.0.0.1:{environment['GATEWAY_METRICS_PORT']}/metrics"
    double = {"id": "double", "pluginId": "set", "config": {"values": {"n": "{{ input.n * 2 }}"}}}
    async with open_platform(load(environment)) as platform:
        owner: Headers = await new_tenant(platform)
    async with process("serve", environment, tmp_path / "first.log") as serving:
        await until_it_answers(f"{api}/health/live", serving)
        async with httpx.AsyncClient(base_url=api, headers=owner, timeout=30) as client:
            made = await client.post("/v1/workflows", json={"name": "Double", "definition": {"nodes": [double]}})
            where = made.headers["location"]
            await client.post(f"{where}/versions")
            written = await client.get(f"{where}/versions/1/export?format=python")
        assert await stop(serving) == 0
    assert written.headers["content-type"].startswith("text/x-python")
    file = tmp_path / "double.py"
    file.write_text(written.text)
    environment |= {"GATEWAY_GENERATED": f"{made.json()['id']}.v1"}
    command = [sys.executable, "-m", "gateway", "worker", "user-workflows", "--module", str(file)]
    log = tmp_path / "worker.log"
    with log.open("wb") as output:
        worker = await asyncio.create_subprocess_exec(
            *command, env=os.environ | environment, stdout=output, stderr=output
        )
    try:
        async with (
            process("serve", environment, tmp_path / "serve.log") as serving,
            httpx.AsyncClient(base_url=api, headers=owner, timeout=30) as client,
        ):
            await until_it_answers(f"{api}/health/live", serving)
            await until_it_answers(figures, worker)
            body = {"input": {"n": 21}}
            execution = (await client.post(f"{where}/executions", json=body, headers={"Prefer": "wait=20"})).json()
            steps = (await client.get(f"/v1/executions/{execution['id']}/steps")).json()["items"]
        assert (execution["status"], execution["output"]) == ("completed", {"double": {"n": 42}})
        assert [(step["nodeId"], step["status"]) for step in steps] == [("double", "completed")]
        async with open_platform(load(environment)) as platform, asyncio.timeout(60):
            carried = f"WorkflowType = '{made.json()['id']}.v1'"
            while (await platform.temporal.count_workflows(carried)).count != 1:
                await asyncio.sleep(0.05)
        assert await stop(worker) == 0
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()
    ready = next(line for line in lines(log) if line["event"] == "worker.ready")
    assert ready["generated"] == [f"{made.json()['id']}.v1"]


async def test_a_worker_that_waits_for_temporal_can_be_stopped(environment: Environment, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    async with process("run_user_workflows_worker", environment | {"TEMPORAL_ADDRESS": "127.0.0.1:1"}, log) as worker:
        async with asyncio.timeout(40):
            while "temporal.unreachable" not in log.read_text():
                await asyncio.sleep(0.05)
        assert await stop(worker) == 0


async def test_what_is_loaded_at_the_start_is_left_out_of_garbage_collections(environment: Environment) -> None:
    code = (
        "import gc, os; from gateway import processes; from gateway.settings import load; "
        "processes.begin(load(os.environ), 'serve'); print(gc.get_freeze_count(), len(gc.get_objects()))"
    )
    asked = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env=os.environ | environment, stdout=asyncio.subprocess.PIPE
    )
    frozen, collected = map(int, (await asked.communicate())[0].split())
    assert frozen > 100 * collected
