"""Every refusal is a problem document (RFC 9457), the framework's own too, and none shows the inside."""

import asyncio

import httpx
import pytest
from litestar import get
from msgspec import structs
from sqlalchemy.exc import OperationalError

from gateway.app import create_app
from gateway.auth.permissions import PUBLIC, requires
from gateway.compose import Platform, open_platform
from gateway.errors import UndeclaredPermission
from gateway.settings import Settings
from tests.gateway.application import ADMIN, Headers, answering, asking


def check(response: httpx.Response, status: int, kind: str) -> dict[str, object]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, object] = response.json()
    assert problem["type"] == f"/problems/{kind}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    told = response.headers["traceparent"].split("-")[1] if status >= 500 else None
    assert problem.get("traceId") == told
    return problem


async def test_an_unknown_path_is_not_found(client: httpx.AsyncClient) -> None:
    assert check(await client.get("/no/such/path"), 404, "not-found")["instance"] == "/no/such/path"


async def test_an_unknown_method_is_not_allowed(client: httpx.AsyncClient) -> None:
    refused = await client.put("/v1/me", headers=ADMIN)
    check(refused, 405, "method-not-allowed")
    assert "GET" in refused.headers["allow"]


@pytest.mark.parametrize("body", [b"{bad", b'{"name": "x"', b'{"name": NaN}', b"\xff\xfe", b'{"name": "\\ud800"}'])
async def test_malformed_json_is_a_bad_request_that_says_where(client: httpx.AsyncClient, body: bytes) -> None:
    problem = check(await client.post("/v1/tenants", headers=ADMIN, content=body), 400, "bad-request")
    assert "not valid JSON" in str(problem["detail"])


async def test_json_nested_too_deeply_is_a_bad_request(client: httpx.AsyncClient) -> None:
    check(await client.post("/v1/tenants", headers=ADMIN, content=b"[" * 100_000), 400, "bad-request")


async def test_a_missing_body_is_a_bad_request(client: httpx.AsyncClient) -> None:
    check(await client.post("/v1/tenants", headers=ADMIN), 400, "bad-request")


@pytest.mark.parametrize("body", [b"null", b"[]", b"1", b'"x"'])
async def test_a_body_that_is_no_object_is_invalid(client: httpx.AsyncClient, body: bytes) -> None:
    check(await client.post("/v1/tenants", headers=ADMIN, content=body), 422, "invalid-body")


async def test_every_fault_of_a_body_is_named(client: httpx.AsyncClient, owner: Headers) -> None:
    body = {"role": "king", "scopes": "all", "extra~/": 1}
    problem = check(await client.post("/v1/api-keys", headers=owner, json=body), 422, "invalid-body")
    errors = problem["errors"]
    assert isinstance(errors, list)
    assert {fault["pointer"] for fault in errors} == {"/name", "/role", "/scopes", "/extra~0~1"}


async def test_a_wrong_query_parameter_is_a_bad_request_that_names_it(
    client: httpx.AsyncClient, owner: Headers
) -> None:
    problem = check(await client.get("/v1/api-keys?limit=many", headers=owner), 400, "bad-request")
    assert problem["errors"][0]["pointer"] == "limit"  # type: ignore[index]


async def test_an_oversize_body_is_too_large(client: httpx.AsyncClient) -> None:
    body = b'{"name": "' + b"x" * 2 * 2**20 + b'"}'
    problem = check(await client.post("/v1/tenants", headers=ADMIN, content=body), 413, "body-too-large")
    assert "at most 2,097,152 bytes" in str(problem["detail"])


async def test_another_media_type_is_not_supported(client: httpx.AsyncClient) -> None:
    check(await client.post("/v1/tenants", headers=ADMIN, data={"name": "x"}), 415, "unsupported-media-type")


@pytest.mark.parametrize("id", ["ten_01jd3x0v7k8m5qf2c9hz6w4t1b", "x", "%00", "%F0%9F%98%80", "a b", "x" * 5000])
async def test_absent_and_malformed_ids_are_the_same_problem(client: httpx.AsyncClient, id: str) -> None:
    check(await client.get(f"/v1/tenants/{id}", headers=ADMIN), 404, "not-found")


@get("/broken", opt=requires(PUBLIC))
async def broken() -> None:
    raise ValueError("the password is hunter2")


@get("/down", opt=requires(PUBLIC))
async def down() -> None:
    raise OperationalError("SELECT hunter2", {}, ConnectionRefusedError("hunter2"))


async def test_what_nobody_foresaw_stays_inside(platform: Platform) -> None:
    async with asking(create_app(platform, routes=[broken, down])) as client:
        unforeseen = await client.get("/broken")
        check(unforeseen, 500, "internal-error")
        unavailable = await client.get("/down")
        check(unavailable, 503, "unavailable")
    assert unavailable.headers["retry-after"] == "5"
    assert "hunter2" not in unforeseen.text + unavailable.text


@pytest.mark.parametrize("listening", [False, True], ids=["refused", "silent"])
async def test_a_database_that_is_away_is_unavailable_within_five_seconds(settings: Settings, listening: bool) -> None:
    """Whether nobody listens there, or somebody who never answers."""

    key = {"Authorization": "Bearer gw_01jd3x0v7k8m5qf2c9hz6w4t1b_secret"}

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as silence:
        port = silence.sockets[0].getsockname()[1] if listening else 1
        away = structs.replace(settings, database_url=f"postgresql://nobody@127.0.0.1:{port}/gateway")
        async with open_platform(away) as platform, answering(platform) as client:
            async with asyncio.timeout(5):
                refused = await client.get("/v1/me", headers=key)
            ready = await client.get("/health/ready")
    check(refused, 503, "unavailable")
    assert refused.headers["retry-after"] == "5"
    assert (ready.status_code, ready.json()["parts"]["database"]) == (503, "down")


@get("/open")
async def undeclared() -> None:
    """A route whose author forgot to say who may call it."""


def test_a_route_without_a_permission_keeps_the_gateway_from_starting(platform: Platform) -> None:
    with pytest.raises(UndeclaredPermission, match="GET /open"):
        create_app(platform, routes=[undeclared])


def test_a_permission_that_no_role_grants_is_refused_where_it_is_declared() -> None:
    with pytest.raises(ValueError, match=r"moon\.walk"):
        requires("moon.walk")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/executions?tag=%00",
        "/v1/executions?workflowId=%00",
        "/v1/executions?startedAfter=2030-01-01T00:00:00",
        "/v1/executions?startedAfter=yesterday",
        "/v1/executions?status=done",
        "/v1/executions?cursor=ex_1",
        "/v1/executions?limit=0",
        "/v1/jobs?type=%00",
        "/v1/jobs?tag=a%0Ab",
        "/v1/jobs?queue=fast",
        "/v1/jobs?limit=201",
    ],
)
async def test_a_filter_that_no_store_could_read_is_a_bad_request(
    client: httpx.AsyncClient, owner: Headers, path: str
) -> None:
    problem = check(await client.get(path, headers=owner), 400, "bad-request")
    errors = problem["errors"]
    assert isinstance(errors, list)
    assert errors[0]["pointer"] == path.partition("?")[2].partition("=")[0]
