"""Another tenant's object is an absent one: on every route that names an object, and a new route is on the list."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.app import create_app
from gateway.compose import Platform
from gateway.settings import Settings
from tests.figures import Figures
from tests.gateway.application import Headers, new_tenant
from user_workflows.inbox.event import RawEvent

SCHEDULE = {"name": "x", "every": "1d", "job": {"type": "job.enqueue", "payload": {"type": "job.enqueue"}}}
#: what a request needs in order to come as far as the object
BODIES: dict[str, Any] = {
    "rename_workflow": {"name": "x"},
    "put_draft": {},
    "put_workflow_limits": {},
    "start_batch": {"items": [{}]},
    "signal_execution": {"name": "go"},
    "skip_node": {"nodeId": "a"},
    "rerun_execution": {"fromNode": "a"},
    "edit_dead_letter": {"payload": {}},
    "change_credential": {"name": "x"},
    "rotate_credential": {"data": {"token": "x"}},
    "replace_job_schedule": SCHEDULE,
    "change_endpoint": {"description": "x"},
}
#: parameters that name no tenant's object: the world's, the installation's, within the object, or a name that every
#: tenant may give to an object of its own
OTHERS = {"token", "node_id", "plugin_id", "tenant_id", "version", "template_name"}
ABSENT = {
    "workflow_id": "wf_01jd3x0v7k8m5qf2c9hz6w4t1b",
    "execution_id": "ex_01jd3x0v7k8m5qf2c9hz6w4t1b",
    "job_id": "job_01jd3x0v7k8m5qf2c9hz6w4t1b",
    "credential_id": "cred_01jd3x0v7k8m5qf2c9hz6w4t1b",
    "key_id": "key_01jd3x0v7k8m5qf2c9hz6w4t1b",
    "replay_id": "rep_01jd3x0v7k8m5qf2c9hz6w4t1b",
    "schedule_id": "sch_01jd3x0v7k8m5qf2c9hz6w4t1b",
    "endpoint_id": "ep_01jd3x0v7k8m5qf2c9hz6w4t1b",
    "delivery_id": "dlv_01jd3x0v7k8m5qf2c9hz6w4t1b",
    "event_id": "in_01jd3x0v7k8m5qf2c9hz6w4t1b",
}


def operations() -> list[tuple[str, str, str, str]]:
    """Every operation on an object: method, path, id of the operation, parameter that names the object."""
    nowhere = Settings(database_url="sqlite://", redis_url="redis://127.0.0.1:1", master_key_file=Path("/"))
    paths = create_app(nowhere).openapi_schema.to_schema()["paths"]
    return [
        (method.upper(), path, operation["operationId"], parameter["name"])
        for path, item in paths.items()
        for method, operation in item.items()
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "path" and parameter["name"] not in OTHERS
    ]


@pytest.fixture(scope="session")
async def theirs(serving: tuple[Platform, httpx.AsyncClient]) -> dict[str, str]:
    """One object of each kind, all of one tenant."""
    platform, client = serving
    owner = await new_tenant(platform)
    definition = {"nodes": [{"id": "a", "pluginId": "set", "config": {"values": {}}}]}
    workflow = await client.post("/v1/workflows", headers=owner, json={"name": "Theirs", "definition": definition})
    where = workflow.headers["location"]
    await client.post(f"{where}/versions", headers=owner)
    # Temporal is down, but the row of an execution comes first.
    await client.post(f"{where}/executions", headers=owner)
    execution = (await client.get("/v1/executions", headers=owner)).json()["items"][0]
    job = {"type": "job.enqueue", "payload": {"type": "job.enqueue"}, "delay": "1d"}
    endpoint = await client.post("/v1/endpoints", headers=owner, json={"url": "https://example.com/hook"})
    sent = await client.post("/v1/deliveries", headers=owner, json={"type": "invoice.paid"})
    credential = {"type": "bearer", "name": "x", "data": {"token": "x"}}
    me = (await client.get("/v1/me", headers=owner)).json()
    event = RawEvent(type="webhook", delivery_id="d", method="POST", headers={}, query={}, body=b"{}")
    await platform.inbox.keep(me["tenantId"], workflow.json()["id"], "hook", event, key="key", verdict="unreadable")
    inbound = (await client.get("/v1/inbound-events", headers=owner)).json()["items"]
    return {
        "event_id": inbound[0]["id"],
        "workflow_id": workflow.json()["id"],
        "execution_id": execution["id"],
        "job_id": (await client.post("/v1/jobs", headers=owner, json=job)).json()["id"],
        "credential_id": (await client.post("/v1/credentials", headers=owner, json=credential)).json()["id"],
        "endpoint_id": endpoint.json()["id"],
        "delivery_id": sent.json()["items"][0]["id"],
        "schedule_id": (await client.post("/v1/job-schedules", headers=owner, json=SCHEDULE)).json()["id"],
        "replay_id": (await client.post("/v1/dead-letters/replay", headers=owner, json={})).json()["id"],
        "key_id": me["keyId"],
    }


@pytest.mark.parametrize(("method", "path", "operation", "parameter"), operations())
async def test_another_tenants_object_is_an_absent_one(
    client: httpx.AsyncClient,
    owner: Headers,
    theirs: dict[str, str],
    figures: Figures,
    method: str,
    path: str,
    operation: str,
    parameter: str,
) -> None:
    answers = []
    for id in (theirs[parameter], ABSENT[parameter], "x", "%00"):
        url = path.replace(f"{{{parameter}}}", id).replace("{version}", "1")
        answers.append(await client.request(method, url, headers=owner, json=BODIES.get(operation)))
    assert {answer.status_code for answer in answers} == {404}
    assert len({comparable(answer) for answer in answers}) == 1
    assert answers[0].json()["detail"].replace(theirs[parameter], "") == answers[1].json()["detail"].replace(
        ABSENT[parameter], ""
    )
    figures("T23", ids_swapped=1, told_apart=0)


def comparable(response: httpx.Response) -> str:
    """A problem without what may differ between an absent and a foreign object."""
    problem = response.json()
    return str({name: problem[name] for name in sorted(problem) if name not in ("detail", "instance")})
