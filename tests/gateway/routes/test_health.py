"""Probes, figures and traces of the API."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.application import Headers

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_the_process_answers_and_names_the_parts_that_do_not(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health/live")).json() == {"status": "ok", "parts": {}}
    ready = await client.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json() == {
        "status": "degraded",
        "parts": {"database": "ok", "redis": "ok", "temporal": "down"},
    }


async def test_requests_are_counted_by_the_template_of_their_route(client: httpx.AsyncClient, owner: Headers) -> None:
    before = await counts(client)
    for path in ("/v1/jobs/x", "/v1/jobs/y", "/no/such/path", "/v1/me"):
        await client.get(path, headers=owner)
    after = await counts(client)
    seen = {labels: after[labels] - before.get(labels, 0) for labels in after if after[labels] != before.get(labels, 0)}
    assert seen[("GET", "/v1/jobs/{job_id}", "404")] == 2
    assert seen[("GET", "unmatched", "404")] == 1
    assert seen[("GET", "/v1/me", "200")] == 1
    assert not any(path in labels for labels in after for path in ("/v1/jobs/x", "/no/such/path"))


async def test_a_callers_trace_is_continued(client: httpx.AsyncClient) -> None:
    continued = await client.get("/health/live", headers={"traceparent": PARENT})
    assert continued.headers["traceparent"].split("-")[1] == PARENT.split("-")[1]
    refused = await client.get("/v1/me", headers={"traceparent": PARENT})
    assert refused.headers["traceparent"].split("-")[1] == PARENT.split("-")[1]
    assert "traceId" not in refused.json()


async def test_the_description_of_the_api_names_every_permission_and_problem(client: httpx.AsyncClient) -> None:
    document = (await client.get("/schema/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    for path, item in document["paths"].items():
        for operation in item.values():
            assert "application/problem+json" in operation["responses"]["default"]["content"]
            public = path.startswith(("/health", "/metrics", "/hooks", "/v1/approvals/", "/v1/oauth/callback"))
            assert bool(operation["security"]) != public, path


async def counts(client: httpx.AsyncClient) -> dict[tuple[str, str, str], float]:
    text = (await client.get("/metrics")).text
    return {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "gateway_http_requests_total"
    }
