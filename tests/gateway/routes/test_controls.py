"""Run controls through the API, on a real Temporal."""

import httpx

from tests.gateway.application import Headers
from tests.gateway.routes.test_executions import WAIT, ended_execution, publish


async def test_an_execution_is_paused_and_resumed(api: httpx.AsyncClient, owner: Headers) -> None:
    where = await publish(api, owner, WAIT)
    path = (await api.post(f"{where}/executions", headers=owner)).headers["location"]
    for _ in range(2):
        paused = await api.post(f"{path}/pause", headers=owner)
        assert (paused.status_code, paused.json()["status"]) == (202, "paused")
    assert (await api.get(path, headers=owner)).json()["status"] == "paused"
    resumed = await api.post(f"{path}/resume", headers=owner, json={})
    assert (resumed.status_code, resumed.json()["status"]) == (202, "running")
    await api.post(f"{path}/signal", headers=owner, json={"name": "go"})
    assert (await ended_execution(api, owner, path))["status"] == "completed"
    late = await api.post(f"{path}/pause", headers=owner)
    assert (late.status_code, late.json()["type"]) == (409, "/problems/conflict")


async def test_a_waiting_node_is_skipped(api: httpx.AsyncClient, owner: Headers) -> None:
    where = await publish(api, owner, WAIT)
    path = (await api.post(f"{where}/executions", headers=owner)).headers["location"]
    wrong = await api.post(f"{path}/skip", headers=owner, json={"nodeId": "nowhere"})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/nodeId")
    assert (await api.post(f"{path}/skip", headers=owner, json={"nodeId": "hold"})).status_code == 202
    assert (await ended_execution(api, owner, path))["status"] == "completed"
    (step,) = (await api.get(f"{path}/steps", headers=owner)).json()["items"]
    assert (step["status"], step["reason"]) == ("skipped", "skipped by request")
