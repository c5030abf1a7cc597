"""The API is what its OpenAPI document says, for whatever the document allows and for what it does not."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.app import create_app
from gateway.auth.permissions import PERMISSIONS, PUBLIC
from gateway.settings import Settings
from tests.e2e.installation import Installation, wait_for
from tests.figures import Figures

APP = create_app(Settings(database_url="sqlite://", redis_url="redis://127.0.0.1:1", master_key_file=Path("/")))

#: as it is served: defaults, for one, are JSON then
DOCUMENT: Any = msgspec.json.decode(msgspec.json.encode(APP.openapi_schema.to_schema()))

_READ: Iterable[Any] = schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
OPERATIONS = {operation.definition.raw["operationId"]: operation for operation in (result.ok() for result in _READ)}

#: answer for as long as somebody listens; tests/gateway/routes/test_streams.py listens
STREAMS = {"watch_execution", "watch_all"}

#: the operations of whoever runs the installation, which no owner may call
ADMINISTRATION = {
    id
    for id, operation in OPERATIONS.items()
    if (permission := re.search(r"Permission: `([a-z.]+)`", operation.definition.raw["description"]))
    and permission[1] not in PERMISSIONS["owner"] | {PUBLIC}
}

#: parameters that name what belongs to one tenant
OWNED = {
    "tenant_id",
    "credential_id",
    "workflow_id",
    "execution_id",
    "job_id",
    "key_id",
    "endpoint_id",
    "delivery_id",
    "schedule_id",
    "replay_id",
}

#: what removes the objects of the others comes last
ORDER = sorted(OPERATIONS.keys() - STREAMS, key=lambda id: (OPERATIONS[id].method == "delete", id))

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

APPROVED = {
    "nodes": [
        {"id": "ask", "pluginId": "approval", "config": {"title": "Shall we?"}},
        {"id": "done", "pluginId": "set", "config": {"values": {"n": "{{ trigger }}"}}},
    ],
    "triggers": [],
}


class Side:
    """A tenant, and one object of each kind that it has."""

    def __init__(self, client: httpx.Client, tenant_id: str) -> None:
        def make(path: str, **body: Any) -> Any:
            answer = client.post(path, json=body or None)
            assert answer.is_success, f"{path}: {answer.text}"
            return answer.json()

        self.headers = {"Authorization": client.headers["Authorization"]}
        credential = make("/v1/credentials", type="signing", name="hook", data={"secret": "whsec_bm90aGluZw=="})
        hook = {"id": "hook", "type": "webhook", "config": {"secret": credential["id"]}}
        workflow = make("/v1/workflows", name="x", definition=APPROVED | {"triggers": [hook]})
        where = f"/v1/workflows/{workflow['id']}"
        make(f"{where}/versions")
        active = make(f"{where}/activate")
        execution = make(f"{where}/executions")
        approvals = f"/v1/executions/{execution['id']}/approvals"
        (opened,) = wait_for(lambda: client.get(approvals).json()["items"] or None, "an approval")
        job = make("/v1/jobs", type="http.request", payload={"url": "https://example.com"}, delay="1d")
        hooked = {"url": "https://hook.invalid/"}
        schedule = {"name": "x", "every": "1d", "job": {"type": "http.request", "payload": hooked}}
        client.put("/v1/email-templates/greeting", json={"subject": "x", "text": "x"}).raise_for_status()
        self.ids = {
            "tenant_id": tenant_id,
            "endpoint_id": make("/v1/endpoints", **hooked)["id"],
            "delivery_id": make("/v1/deliveries", type="invoice.paid")["items"][0]["id"],
            "schedule_id": make("/v1/job-schedules", **schedule)["id"],
            "replay_id": make("/v1/dead-letters/replay", filter={})["id"],
            "template_name": "greeting",
            "credential_id": credential["id"],
            "workflow_id": workflow["id"],
            "execution_id": execution["id"],
            "job_id": job["id"],
            "key_id": make("/v1/api-keys", name="spare", role="viewer")["id"],
            "node_id": "ask",
            "plugin_id": "http.request",
            "version": 1,
        }
        self.tokens = {
            "/hooks/{token}": active["triggers"][0]["url"].rpartition("/")[2],
            "/v1/approvals/{token}": opened["links"][0]["token"],
        }


@pytest.fixture(scope="session")
def sides(installation: Installation) -> dict[str, Side]:
    admin = {"Authorization": f"Bearer {installation.dev.admin_key}"}
    made = {}
    for name in ("ours", "theirs"):
        tenant = installation.call("POST", "/v1/tenants", {"name": name}, **admin)
        body = {"name": "k", "role": "owner", "tenantId": tenant["id"]}
        key = installation.call("POST", "/v1/api-keys", body, **admin)["key"]
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=installation.dev.url, headers=headers, trust_env=False, timeout=60) as client:
            made[name] = Side(client, tenant["id"])
    return made


@pytest.fixture(scope="session")
def session() -> Iterator[Any]:
    with requests.Session() as opened:
        opened.trust_env = False
        yield opened


def test_every_reference_of_the_document_leads_somewhere() -> None:
    def check(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(reference := value.get("$ref"), str):
                found: Any = DOCUMENT
                for part in reference.removeprefix("#/").split("/"):
                    found = found[part.replace("~1", "/").replace("~0", "~")]
            for inner in value.values():
                check(inner)
        elif isinstance(value, list):
            for inner in value:
                check(inner)

    check(DOCUMENT)


@pytest.mark.parametrize("operation_id", ORDER)
def test_an_operation_answers_as_it_is_described(
    installation: Installation, sides: dict[str, Side], session: Any, figures: Figures, operation_id: str
) -> None:
    answered: list[int] = []
    operation = OPERATIONS[operation_id]
    modes = [operation.as_strategy(generation_mode=mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)]
    headers = sides["ours"].headers
    if operation_id in ADMINISTRATION:
        headers = {"Authorization": f"Bearer {installation.dev.admin_key}"}
        # One that may be shredded.
        spare = installation.call("POST", "/v1/tenants", {"name": "spare"}, **headers)["id"]

    @given(case=st.one_of(modes), whose=st.sampled_from(["ours", "ours", "theirs", "drawn"]))
    @settings(max_examples=12, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def check(case: "schemathesis.Case[Any]", whose: str) -> None:
        foreign = False
        if whose in sides:
            ids: dict[str, Any] = dict(sides[whose].ids)
            if operation_id in ADMINISTRATION:
                ids["tenant_id"] = spare
            if operation.path in sides[whose].tokens:
                ids["token"] = sides[whose].tokens[operation.path]
            for name in set(case.path_parameters or ()) & ids.keys():
                case.path_parameters[name] = ids[name]
                foreign |= whose == "theirs" and operation_id not in ADMINISTRATION and name in OWNED
        response = case.call(base_url=installation.dev.url, headers=headers, session=session, timeout=60)
        answered.append(response.status_code)
        case.validate_response(response, checks=CHECKS)
        assert response.status_code >= 400 or not foreign, response.text

    check()
    succeeded = sum(status < 400 for status in answered)
    figures(
        "description",
        operations=1,
        requests=len(answered),
        succeeded=succeeded,
        operations_that_succeeded=int(succeeded > 0),
    )
