import base64
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from plugins import ApiKeyCredential, BasicCredential, BearerCredential, Permanent, Secret, Transient
from plugins.builtin.http import HttpRequest, http_request
from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.host.scrub import Scrubber
from plugins.sdk.conform import Nonconforming, conform
from plugins.sdk.schema import config_schema
from tests.plugins.builtin.conftest import KEY, Run
from tests.plugins.target import Target


@pytest.fixture
async def small(target: Target, authorities: ssl.SSLContext) -> AsyncIterator[EgressClient]:
    """A client that reads ten bytes and no more."""
    client = EgressClient(Guard(allow=[f"127.0.0.1:{target.port}"]), max_bytes=10, tls=lambda: authorities)
    yield client
    await client.close()


async def test_a_get_brings_status_headers_and_parsed_json(run: Run, target: Target) -> None:
    target.answer("/v1/things", 200, {"items": [1, 2.5, None, "é"]}, x_total="2")
    config = {
        "url": f"{target.url}/v1/things?a=1",
        "query": {"q": "x y&z", "n": 5, "on": True, "off": None},
        "headers": {"X-Trace": "t", "X-Number": 7},
    }
    output = await run(http_request, config)
    assert output["status"] == 200
    assert output["body"] == {"items": [1, 2.5, None, "é"]}
    assert output["headers"]["x-total"] == "2"
    [request] = target.requests
    assert request.method == "GET"
    assert request.query == {"a": ["1"], "q": ["x y&z"], "n": ["5"], "on": ["true"]}
    assert (request.headers["x-trace"], request.headers["x-number"]) == ("t", "7")
    assert "idempotency-key" not in request.headers


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/json", b'{"a": 1}', {"a": 1}),
        ("application/problem+json; charset=utf-8", b"[1]", [1]),
        ("APPLICATION/JSON", b"null", None),
        ("application/json", b"{broken", "{broken"),
        ("application/json", b"[" * 100_000, "[" * 100_000),
        ("application/json", b"", ""),
        ("text/plain", b'{"a": 1}', '{"a": 1}'),
        ("text/plain; charset=iso-8859-1", "é".encode("latin-1"), "é"),
        ("text/plain; charset=nonsense", b"x", "x"),
        ("text/html", b"\xff", "\ufffd"),
        ("image/png", b"\x89PNG\xff", base64.b64encode(b"\x89PNG\xff").decode()),
        ("", b"text", "text"),
    ],
)
async def test_a_body_is_read_as_its_content_type_says(
    run: Run, target: Target, content_type: str, body: bytes, expected: Any
) -> None:
    target.answer("/", body=body, content_type=content_type)
    assert (await run(http_request, {"url": target.url}))["body"] == expected


@pytest.mark.parametrize(
    ("body", "headers", "sent", "content_type"),
    [
        ({"a": [1, "é"]}, {}, '{"a":[1,"é"]}'.encode(), "application/json"),
        ([], {}, b"[]", "application/json"),
        (5, {}, b"5", "application/json"),
        ("as it stands", {}, b"as it stands", "text/plain; charset=utf-8"),
        ("<a/>", {"Content-Type": "application/xml"}, b"<a/>", "application/xml"),
        ({"a": 1}, {"content-type": "application/vnd.api+json"}, b'{"a":1}', "application/vnd.api+json"),
        (
            {"a": "x y", "b": [1, 2], "c": None, "d": True},
            {"Content-Type": "application/x-www-form-urlencoded"},
            b"a=x+y&b=1&b=2&d=true",
            "application/x-www-form-urlencoded",
        ),
        (None, {}, b"", None),
    ],
)
async def test_a_body_is_sent_as_what_it_is(
    run: Run, target: Target, body: Any, headers: dict[str, str], sent: bytes, content_type: str | None
) -> None:
    target.answer("/")
    await run(http_request, {"url": target.url, "method": "POST", "body": body, "headers": headers})
    [request] = target.requests
    assert request.body == sent
    assert request.headers.get("content-type") == content_type


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
async def test_post_and_patch_carry_the_same_idempotency_key_on_every_attempt(
    run: Run, target: Target, method: str
) -> None:
    target.answer("/")
    for attempt in (1, 2):
        await run(http_request, {"url": target.url, "method": method}, attempt=attempt)
    keys = [request.headers.get("idempotency-key") for request in target.requests]
    assert keys == ([KEY, KEY] if method in ("POST", "PATCH") else [None, None])


async def test_a_users_own_idempotency_key_stays(run: Run, target: Target) -> None:
    target.answer("/")
    await run(http_request, {"url": target.url, "method": "POST", "headers": {"IDEMPOTENCY-KEY": "mine"}})
    assert target.requests[0].headers["idempotency-key"] == "mine"


@pytest.mark.parametrize(
    ("config", "effect"),
    [
        ({}, "read"),
        ({"method": "HEAD"}, "read"),
        ({"method": "OPTIONS"}, "read"),
        ({"method": "PUT"}, "idempotent"),
        ({"method": "DELETE"}, "idempotent"),
        ({"method": "POST"}, "unsafe"),
        ({"method": "PATCH"}, "unsafe"),
        ({"method": "POST", "idempotent": True}, "idempotent"),
        ({"method": "PATCH", "idempotent": True}, "idempotent"),
        ({"method": "GET", "idempotent": True}, "read"),
    ],
)
def test_the_effect_follows_from_the_method(config: dict[str, Any], effect: str) -> None:
    assert http_request.effect_of(conform(HttpRequest, {"url": "https://example.com", **config})) == effect


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_a_status_that_may_pass_is_transient(run: Run, target: Target, status: int) -> None:
    target.answer("/", status, body=b"try later")
    with pytest.raises(Transient) as caught:
        await run(http_request, {"url": target.url, "method": "POST"})
    error = caught.value
    assert (error.type, error.status, error.effect, error.retry_after) == (f"http.{status}", status, "unknown", None)
    assert "127.0.0.1 answered" in error.message
    assert "try later" in error.message


@pytest.mark.parametrize("status", [300, 304, 400, 401, 403, 404, 409, 410, 422, 451])
async def test_any_other_status_is_permanent(run: Run, target: Target, status: int) -> None:
    target.answer("/", status)
    with pytest.raises(Permanent) as caught:
        await run(http_request, {"url": target.url})
    assert (caught.value.type, caught.value.status) == (f"http.{status}", status)


@pytest.mark.parametrize(
    ("status", "header", "effect", "low", "high"),
    [
        (429, "7", "none", 7, 7),
        (503, "0", "none", 0, 0),
        (503, "Sun, 06 Nov 1994 08:49:37 GMT", "none", 0, 0),
        (503, "Sunday, 06-Nov-94 08:49:37 GMT", "none", 0, 0),
        (500, "7", "unknown", 7, 7),
    ],
)
async def test_retry_after_is_read_in_both_forms(
    run: Run, target: Target, status: int, header: str, effect: str, low: float, high: float
) -> None:
    target.answer("/", status, retry_after=header)
    with pytest.raises(Transient) as caught:
        await run(http_request, {"url": target.url})
    assert caught.value.effect == effect
    assert caught.value.retry_after is not None
    assert low <= caught.value.retry_after <= high


async def test_retry_after_may_be_a_moment_to_come(run: Run, target: Target) -> None:
    target.answer("/", 429, retry_after=format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True))
    with pytest.raises(Transient) as caught:
        await run(http_request, {"url": target.url})
    assert caught.value.retry_after is not None
    assert 3500 <= caught.value.retry_after <= 3600


@pytest.mark.parametrize("header", ["soon", "-5", "1.5", "٥", "Sun, 99 Nov 1994", "", "1e9999"])
async def test_an_unreadable_retry_after_is_none(run: Run, target: Target, header: str) -> None:
    target.answer("/", 429, retry_after=header.encode().decode("latin-1"))
    with pytest.raises(Transient) as caught:
        await run(http_request, {"url": target.url})
    assert (caught.value.retry_after, caught.value.effect) == (None, "unknown")


async def test_accept_status_decides_what_a_success_is(run: Run, target: Target) -> None:
    for status in (200, 404, 500):
        target.answer(f"/{status}", status)
    accept = {"acceptStatus": [404, "5xx"]}
    for status in (404, 500):
        assert (await run(http_request, {"url": f"{target.url}/{status}", **accept}))["status"] == status
    with pytest.raises(Permanent) as caught:
        await run(http_request, {"url": f"{target.url}/200", **accept})
    assert caught.value.type == "http.200"


async def test_redirects_are_followed_unless_the_user_says_no(run: Run, target: Target) -> None:
    target.answer("/a", 302, location="/b")
    target.answer("/b", body=b"there", content_type="text/plain")
    assert (await run(http_request, {"url": f"{target.url}/a"}))["body"] == "there"
    config = {"url": f"{target.url}/a", "followRedirects": False, "acceptStatus": ["3xx"]}
    assert (await run(http_request, config))["headers"]["location"] == "/b"


BEARER = BearerCredential(token=Secret("s3cr3t-token"))
BASIC = BasicCredential(username="ann", password=Secret("s3cr3t é"))
HEADER = ApiKeyCredential(name="X-Api-Key", value=Secret("s3cr3t-key"))
QUERY = ApiKeyCredential(name="key", value=Secret("s3cr3t&key"), location="query")


async def test_each_kind_of_credential_goes_where_it_belongs(run: Run, target: Target) -> None:
    target.answer("/")
    config = {"url": target.url, "headers": {"Authorization": "typed by hand"}, "query": {"key": "typed"}}
    for credential in (BEARER, BASIC, HEADER, QUERY):
        await run(http_request, config, credentials={"auth": credential})
    bearer, basic, header, query = target.requests
    assert bearer.headers["authorization"] == "Bearer s3cr3t-token"
    assert basic.headers["authorization"] == "Basic " + base64.b64encode("ann:s3cr3t é".encode()).decode()
    assert header.headers["x-api-key"] == "s3cr3t-key"
    assert header.headers["authorization"] == "typed by hand"
    assert query.query == {"key": ["s3cr3t&key"]}


@pytest.mark.parametrize("credential", [BEARER, BASIC, HEADER, QUERY])
async def test_no_error_shows_a_credential(run: Run, target: Target, small: EgressClient, credential: Any) -> None:
    target.answer("/large", body=b"x" * 100)
    target.answer("/loop", 302, location="/loop")
    for url in (
        f"{target.url}/large",
        f"{target.url}/missing",
        f"{target.url}/loop",
        "http://10.0.0.1/",
        "http://127.1/",
        "http://nowhere.invalid/",
    ):
        with pytest.raises((Permanent, Transient)) as caught:
            await run(http_request, {"url": url}, http=small, credentials={"auth": credential})
        assert "s3cr3t" not in str(caught.value)


async def test_what_a_server_repeats_of_a_credential_is_taken_out_by_the_host(run: Run, target: Target) -> None:
    target.answer("/", 400, body=b"no access with s3cr3t-token")
    with pytest.raises(Permanent, match="no access") as caught:
        await run(http_request, {"url": target.url}, credentials={"auth": BEARER})
    assert "s3cr3t" not in Scrubber([BEARER]).text(caught.value.message)


async def test_a_credential_with_a_line_break_is_not_sent(run: Run, target: Target) -> None:
    for credential in (BearerCredential(token=Secret("a\r\nX: b")), ApiKeyCredential(name="Host", value=Secret("b"))):
        with pytest.raises(Permanent) as caught:
            await run(http_request, {"url": target.url}, credentials={"auth": credential})
        assert caught.value.type == "egress.invalidRequest"
        assert "X: b" not in str(caught.value)
    assert target.requests == []


async def test_a_forbidden_address_is_named_as_such(run: Run) -> None:
    for url in ("http://169.254.169.254/latest/meta-data/", "http://localhost:1/", "http://[::1]:1/"):
        with pytest.raises(Permanent) as caught:
            await run(http_request, {"url": url})
        assert caught.value.type == "egress.forbidden"


async def test_a_timeout_is_the_users_own(run: Run, target: Target) -> None:
    async def never(request: Any, writer: Any) -> None:
        pass

    target.script("/", never)
    with pytest.raises(Transient) as caught:
        await run(http_request, {"url": target.url, "timeout": "100ms"})
    assert (caught.value.type, caught.value.effect) == ("network.timeout", "unknown")


@pytest.mark.parametrize(
    ("config", "pointer"),
    [
        ({}, "/url"),
        ({"url": "ftp://example.com"}, "/url"),
        ({"url": "https://example.com", "method": "get"}, "/method"),
        ({"url": "https://example.com", "timeout": "30"}, "/timeout"),
        ({"url": "https://example.com", "acceptStatus": []}, "/acceptStatus"),
        ({"url": "https://example.com", "acceptStatus": ["20x"]}, "/acceptStatus/0"),
        ({"url": "https://example.com", "acceptStatus": [99]}, "/acceptStatus/0"),
        ({"url": "https://example.com", "headers": {"a": ["b"]}}, "/headers/a"),
        ({"url": "https://example.com", "verb": "GET"}, "/verb"),
    ],
)
def test_a_wrong_config_is_named(config: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Nonconforming) as caught:
        conform(HttpRequest, config)
    assert [flaw.pointer for flaw in caught.value.flaws] in ([pointer], [pointer.rpartition("/")[0]])


def test_the_schema_describes_every_field() -> None:
    schema = config_schema(http_request)["$defs"]["HttpRequest"]
    assert schema["required"] == ["url"]
    for name, field in schema["properties"].items():
        assert "description" in str(field), name
