"""What the client does for those who may pass."""

import asyncio
import gzip
import socket
import tracemalloc
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.sdk.errors import Permanent, PluginError, Transient
from tests.plugins.certificates import tls_contexts
from tests.plugins.target import Request, Target, open_target


async def loopback(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


async def test_a_request_arrives_as_it_was_meant(target: Target, egress: EgressClient) -> None:
    target.answer("/a%20b", 201, {"ok": True}, x_answer="1")
    response = await egress.request(
        "post",
        f"{target.url}/a b?x=1#fragment",
        headers={"X-Given": "é ", "User-Agent": "me"},
        params={"y": "2&3"},
        content=b"\x00\xff",
    )
    [request] = target.requests
    assert (request.method, request.body) == ("POST", b"\x00\xff")
    assert request.query == {"x": ["1"], "y": ["2&3"]}
    assert request.headers["x-given"] == "é"
    assert request.headers["user-agent"] == "me"
    assert request.headers["host"] == f"127.0.0.1:{target.port}"
    assert response.status == 201
    assert response.headers["x-answer"] == "1"
    assert response.content == b'{"ok": true}'
    assert response.url == f"{target.url}/a%20b?x=1&y=2%263"


@pytest.mark.parametrize("status", [200, 204, 404, 418, 500])
async def test_a_status_is_never_an_error(target: Target, egress: EgressClient, status: int) -> None:
    target.answer("/", status)
    assert (await egress.request("GET", target.url)).status == status


async def test_connections_are_kept_and_shared_with_restricted_clients(target: Target, egress: EgressClient) -> None:
    target.answer("/", body=b"ok")
    for client in (egress, egress, egress.restricted(["127.0.0.1"])):
        await client.request("GET", target.url)
    assert target.connections == 1


async def test_nothing_is_taken_from_the_environment(
    target: Target, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No proxy, no netrc, no certificates of the environment."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    client = EgressClient(Guard(allow=[f"127.0.0.1:{target.port}"]))
    target.answer("/", set_cookie="session=1")
    await client.request("GET", target.url)
    await client.request("GET", target.url)
    await client.close()
    assert all("authorization" not in request.headers for request in target.requests)
    assert all("cookie" not in request.headers for request in target.requests)


@pytest.mark.parametrize(
    ("status", "method", "expected"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (301, "PUT", "PUT"),
        (302, "DELETE", "DELETE"),
        (307, "POST", "POST"),
        (308, "PATCH", "PATCH"),
    ],
)
async def test_a_redirect_rewrites_the_method_as_rfc_9110_says(
    target: Target, egress: EgressClient, status: int, method: str, expected: str
) -> None:
    target.answer("/a", status, location="b?x=1")
    target.answer("/b")
    content = b"body" if method in ("POST", "PUT", "PATCH") else None
    headers = {"Content-Type": "text/plain", "Authorization": "Bearer s"}
    await egress.request(method, f"{target.url}/a", content=content, headers=headers)
    _, second = target.requests
    assert second.method == expected
    assert second.query == {"x": ["1"]}
    assert second.headers["authorization"] == "Bearer s"
    kept = expected == method and content is not None
    assert second.body == (b"body" if kept else b"")
    assert ("content-type" in second.headers) == (expected == method)


async def test_another_origin_gets_no_header_that_may_hold_a_secret(target: Target) -> None:
    secrets = {
        "Authorization": "Bearer secret",
        "Cookie": "session=secret",
        "X-Api-Key": "secret",
        "Idempotency-Key": "secret",
        "Webhook-Signature": "v1,secret",
    }
    plain = {"Accept": "application/json", "Accept-Language": "de", "Content-Type": "text/plain"}
    async with open_target() as other:
        target.answer("/", 307, location=f"http://127.0.0.1:{other.port}/")
        other.answer("/")
        client = EgressClient(Guard(allow=[f"127.0.0.1:{target.port}", f"127.0.0.1:{other.port}"]))
        await client.request("POST", target.url, headers=secrets | plain, content=b"body")
        await client.close()
        [request] = other.requests
    assert "secret" not in str(request.headers)
    assert {name: request.headers[name.lower()] for name in plain} == plain
    assert request.body == b"body"


async def test_redirects_end_after_three(target: Target, egress: EgressClient) -> None:
    for n in range(5):
        target.answer(f"/{n}", 302, location=f"/{n + 1}")
    target.answer("/4", body=b"end")
    with pytest.raises(Permanent) as caught:
        await egress.request("GET", f"{target.url}/0")
    assert caught.value.type == "egress.tooManyRedirects"
    assert [request.path for request in target.requests] == ["/0", "/1", "/2", "/3"]


async def test_three_redirects_are_followed_and_none_when_told_so(target: Target, egress: EgressClient) -> None:
    for n in range(3):
        target.answer(f"/{n}", 302, location=f"/{n + 1}")
    target.answer("/3", body=b"end")
    response = await egress.request("GET", f"{target.url}/0")
    assert (response.content, response.url) == (b"end", f"{target.url}/3")
    response = await egress.request("GET", f"{target.url}/0", follow_redirects=False)
    assert (response.status, response.headers["location"]) == (302, "/1")


async def test_the_length_of_a_body_that_is_not_sent_does_not_count(target: Target, egress: EgressClient) -> None:
    async def unchanged(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 1000\r\n\r\n")

    target.script("/304", unchanged)
    target.answer("/head", body=b"x" * 1000)
    for method, path in (("GET", "/304"), ("HEAD", "/head")):
        response = await egress.request(method, target.url + path, max_bytes=10)
        assert (response.content, response.headers["content-length"]) == (b"", "1000")


async def test_a_redirect_without_a_location_is_an_answer(target: Target, egress: EgressClient) -> None:
    target.answer("/", 302, body=b"where?")
    assert (await egress.request("GET", target.url)).content == b"where?"


TEXT = b"the same text again and again, " * 400


def packed(body: bytes) -> bytes:
    """Return it gzipped, the same at any time: tests are named after it."""
    return gzip.compress(body, mtime=0)


def _raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", packed(TEXT)),
        ("x-gzip", packed(TEXT)),
        ("GZIP", packed(TEXT[:100]) + packed(TEXT[100:])),
        ("gzip", packed(TEXT) + bytes(100)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", _raw_deflate(TEXT)),
        ("identity", TEXT),
    ],
)
async def test_compressed_answers_are_decoded(target: Target, egress: EgressClient, encoding: str, body: bytes) -> None:
    target.answer("/", body=body, content_encoding=encoding)
    response = await egress.request("GET", target.url)
    assert response.content == TEXT
    assert target.requests[0].headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    "body",
    [
        packed(TEXT)[:20] + b"garbage" * 10,
        packed(TEXT)[:-1],
        packed(TEXT) + packed(TEXT)[:30],
        b"\x1f",
        b"plain text",
    ],
)
async def test_an_answer_that_is_not_compressed_as_it_says_is_named(
    target: Target, egress: EgressClient, body: bytes
) -> None:
    target.answer("/", body=body, content_encoding="gzip")
    with pytest.raises(Permanent) as caught:
        await egress.request("GET", target.url)
    assert caught.value.type == "egress.invalidResponse"


@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
async def test_a_limit_holds_to_the_byte(target: Target, egress: EgressClient, encoding: str) -> None:
    body = {"identity": TEXT, "gzip": packed(TEXT), "deflate": zlib.compress(TEXT)}[encoding]
    target.answer("/", body=body, content_encoding=encoding)
    exact = await egress.request("GET", target.url, max_bytes=len(TEXT))
    assert exact.content == TEXT
    with pytest.raises(Permanent) as caught:
        await egress.request("GET", target.url, max_bytes=len(TEXT) - 1)
    assert caught.value.type == "egress.tooLarge"


async def test_an_endless_answer_is_left_early(target: Target, egress: EgressClient) -> None:
    sent = 0

    async def endless(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            sent += 65536
            await writer.drain()

    target.script("/", endless)
    with pytest.raises(Permanent) as caught:
        await egress.request("GET", target.url, max_bytes=100_000)
    assert caught.value.type == "egress.tooLarge"
    assert sent < 32 * 2**20


async def test_a_compression_bomb_never_unfolds(target: Target, egress: EgressClient) -> None:
    """A thousandfold: refused at the limit, and no more than a few megabytes are ever held."""
    stream = zlib.compressobj(wbits=31)
    bomb = b"".join([*(stream.compress(bytes(2**20)) for _ in range(128)), stream.flush()])
    target.answer("/", body=bomb, content_encoding="gzip")
    tracemalloc.start()
    with pytest.raises(Permanent) as caught:
        await egress.request("GET", target.url, max_bytes=2**20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.type == "egress.tooLarge"
    assert peak < 16 * 2**20


async def test_the_time_limit_is_for_the_whole_request(target: Target, egress: EgressClient) -> None:
    """A server that sends a byte now and then does not hold a worker."""

    async def drip(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    target.script("/", drip)
    with pytest.raises(Transient) as caught:
        await egress.request("GET", target.url, timeout=0.2)
    assert (caught.value.type, caught.value.effect) == ("network.timeout", "unknown")


async def test_a_refused_connection_had_no_effect(egress: EgressClient) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        client = EgressClient(Guard(allow=["127.0.0.0/8"]))
        with pytest.raises(Transient) as caught:
            await client.request("POST", f"http://127.0.0.1:{port}/")
        await client.close()
    assert (caught.value.type, caught.value.effect) == ("network.refused", "none")


async def test_a_connection_that_is_never_accepted_had_no_effect() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        client = EgressClient(Guard(allow=["127.0.0.0/8"]))
        for timeout in (0.3, 0.1):
            with pytest.raises(Transient) as caught:
                await client.request("POST", f"http://127.0.0.1:{port}/", timeout=timeout)
            assert (caught.value.type, caught.value.effect) == ("network.connectTimeout", "none")
        with pytest.raises(Transient) as caught:
            await client.connect("127.0.0.1", port, timeout=0.1)
        assert (caught.value.type, caught.value.effect) == ("network.connectTimeout", "none")
        await client.close()
        for each in waiting:
            each.close()


async def test_an_unknown_name_had_no_effect() -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    async def hanging(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    for resolve in (unknown, hanging):
        client = EgressClient(Guard(), resolve=resolve)
        with pytest.raises(Transient) as caught:
            await client.connect("nowhere.test", 80, timeout=0.1)
        await client.close()
        assert (caught.value.type, caught.value.effect) == ("network.dns", "none")


async def test_a_connection_lost_after_sending_may_have_had_one(target: Target, egress: EgressClient) -> None:
    async def hang_up(request: Request, writer: asyncio.StreamWriter) -> None:
        raise ConnectionResetError

    async def stop_short(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nxx")
        await writer.drain()
        raise ConnectionResetError

    async def nonsense(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

    for n, script in enumerate((hang_up, stop_short, nonsense)):
        target.script(f"/{n}", script)
        with pytest.raises(Transient) as caught:
            await egress.request("POST", f"{target.url}/{n}", content=b"x")
        assert (caught.value.type, caught.value.effect) == ("network.reset", "unknown")


async def test_after_a_redirect_nothing_counts_as_not_sent(target: Target) -> None:
    """The first server may have acted before it redirected to one that refuses."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        target.answer("/", 303, location=f"http://127.0.0.1:{closed.getsockname()[1]}/")
        client = EgressClient(Guard(allow=["127.0.0.0/8"]))
        with pytest.raises(Transient) as caught:
            await client.request("POST", target.url, content=b"x")
        await client.close()
    assert (caught.value.type, caught.value.effect) == ("network.refused", "unknown")


async def test_the_next_address_is_tried_when_one_refuses(target: Target) -> None:
    async def several(host: str, port: int) -> Sequence[str]:
        return ["::1", "127.0.0.9", "127.0.0.1"]

    target.answer("/", body=b"ok")
    client = EgressClient(Guard(allow=["127.0.0.0/8"]), resolve=several)
    assert (await client.request("GET", f"http://several.test:{target.port}/")).content == b"ok"
    with await client.connect("several.test", target.port) as opened:
        assert opened.getpeername() == ("127.0.0.1", target.port)
        assert not opened.getblocking()
    await client.close()


async def test_localhost_needs_one_rule_for_both_of_its_addresses(target: Target) -> None:
    target.answer("/", body=b"ok")
    for rule in (f"localhost:{target.port}", f"127.0.0.1:{target.port}", f"[::1]:{target.port}", "127.0.0.0/8"):
        client = EgressClient(Guard(allow=[rule]))
        for host in ("localhost", "127.0.0.1", "LOCALHOST."):
            assert (await client.request("GET", f"http://{host}:{target.port}/")).content == b"ok"
        await client.close()


async def test_tls_is_checked_against_the_name_in_the_url(tmp_path: Path) -> None:
    server, trusting = tls_contexts(tmp_path, "secure.test")
    async with open_target(tls=server) as target:
        target.answer("/", body=b"ok")
        client = EgressClient(Guard(allow=["127.0.0.0/8"]), resolve=loopback, tls=lambda: trusting)
        for name in ("secure.test", "127.0.0.1", "secure.test."):
            assert (await client.request("GET", f"https://{name}:{target.port}/")).content == b"ok"
        with pytest.raises(Permanent) as caught:
            await client.request("GET", f"https://other.test:{target.port}/")
        assert caught.value.type == "egress.untrusted"
        await client.close()
        strict = EgressClient(Guard(allow=["127.0.0.0/8"]), resolve=loopback)
        with pytest.raises(Permanent) as caught:
            await strict.request("GET", f"https://secure.test:{target.port}/")
        assert caught.value.type == "egress.untrusted"
        await strict.close()


async def test_a_server_that_speaks_no_tls_got_nothing(target: Target) -> None:
    client = EgressClient(Guard(allow=["127.0.0.0/8"]), timeout=2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        async def answer_in_the_clear() -> None:
            loop = asyncio.get_running_loop()
            server.setblocking(False)
            accepted, _ = await loop.sock_accept(server)
            await loop.sock_sendall(accepted, b"HTTP/1.1 400 no TLS here\r\n\r\n")
            accepted.close()

        answering = asyncio.create_task(answer_in_the_clear())
        with pytest.raises(Transient) as caught:
            await client.request("POST", f"https://127.0.0.1:{port}/", content=b"x")
        await answering
    await client.close()
    assert (caught.value.type, caught.value.effect) == ("network.tls", "none")


async def test_an_international_name_is_asked_for_in_ascii(target: Target) -> None:
    asked = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    target.answer("/", body=b"ok")
    client = EgressClient(Guard(allow=["127.0.0.0/8"]), resolve=resolve)
    for hosts in (["bücher.example"], ["XN--bcher-kva.example"]):
        await client.restricted(hosts).request("GET", f"http://Bücher.example:{target.port}/")
    await client.close()
    assert asked == ["xn--bcher-kva.example"]
    assert target.requests[0].headers["host"] == f"xn--bcher-kva.example:{target.port}"


async def test_a_restricted_client_reaches_its_hosts_and_no_other(target: Target) -> None:
    target.answer("/", body=b"ok")
    client = EgressClient(Guard(allow=["127.0.0.0/8"]), resolve=loopback)
    port = target.port
    for hosts in (["api.test"], [f"API.test:{port}"], ["other.test", "api.test."]):
        restricted = client.restricted(hosts)
        assert (await restricted.request("GET", f"http://api.test:{port}/")).status == 200
        (await restricted.connect("api.test", port)).close()
    for hosts in (["other.test"], [f"api.test:{port + 1}"], ["test"], ["evil-api.test"], []):
        restricted = client.restricted(hosts)
        with pytest.raises(Permanent) as caught:
            await restricted.request("GET", f"http://api.test:{port}/")
        assert caught.value.type == "credential.hostNotAllowed"
        with pytest.raises(Permanent) as caught:
            await restricted.connect("api.test", port)
        assert caught.value.type == "credential.hostNotAllowed"
    with pytest.raises(Permanent) as caught:
        await client.restricted(["api.test"]).restricted(["other.test"]).request("GET", f"http://api.test:{port}/")
    assert caught.value.type == "credential.hostNotAllowed"
    target.answer("/away", 302, location=f"http://other.test:{port}/")
    with pytest.raises(Permanent) as caught:
        await client.restricted(["api.test"]).request("GET", f"http://api.test:{port}/away")
    assert caught.value.type == "credential.hostNotAllowed"
    assert [request.path for request in target.requests] == ["/", "/", "/", "/away"]
    await client.close()


async def test_a_restricted_client_never_widens_the_guard(target: Target) -> None:
    client = EgressClient(Guard())
    with pytest.raises(Permanent) as caught:
        await client.restricted([f"127.0.0.1:{target.port}"]).request("GET", target.url)
    assert caught.value.type == "egress.forbidden"
    await client.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "a\r\nX-B: b"},
        {"X-A": "a\nb"},
        {"X-A": "a\x00b"},
        {"X-A": "\u20ac"},
        {"X-A\r\nX-B": "b"},
        {"X A": "b"},
        {"X-A:": "b"},
        {"": "b"},
        {"Host": "other.test"},
        {"host": "other.test"},
        {"Content-Length": "5"},
        {"Transfer-Encoding": "chunked"},
        {"Connection": "upgrade"},
        {"Proxy-Authorization": "Basic x"},
    ],
)
async def test_a_header_cannot_break_out_of_its_place(
    target: Target, egress: EgressClient, headers: dict[str, str]
) -> None:
    with pytest.raises(Permanent) as caught:
        await egress.request("GET", target.url, headers=headers)
    assert caught.value.type == "egress.invalidRequest"
    assert "X-B: b" not in str(caught.value)
    assert target.connections == 0


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "GET / HTTP/1.1\r\nX: y", "", "get it"])
async def test_only_known_methods_are_sent(target: Target, egress: EgressClient, method: str) -> None:
    with pytest.raises(Permanent) as caught:
        await egress.request(method, target.url)
    assert caught.value.type == "egress.invalidRequest"
    assert target.connections == 0


async def test_an_error_shows_neither_path_nor_query(target: Target) -> None:
    """Both may hold a secret: a webhook's token, an API key."""
    client = EgressClient(Guard(allow=["127.0.0.0/8"]), timeout=0.2, max_bytes=1)
    target.answer("/hooks/secret", body=b"too large")
    target.answer("/loop/secret", 302, location="/loop/secret")
    urls = [
        f"http://127.0.0.1:{target.port}/hooks/secret?key=secret",
        f"http://127.0.0.1:{target.port}/loop/secret?key=secret",
        "http://127.0.0.1:1/secret?key=secret",
        "http://10.0.0.1/secret?key=secret",
        "http://user:secret@example.com/",
        "http://127.1/secret",
        "ftp://example.com/secret",
        "http://example.com:99999/secret",
        "http://example.com/\n secret",
    ]
    for url in urls:
        with pytest.raises(PluginError) as caught:
            await client.request("GET", url)
        assert "secret" not in str(caught.value), url
    await client.close()


async def test_many_requests_at_once_share_a_bounded_pool(target: Target, egress: EgressClient) -> None:
    target.answer("/", body=b"ok")
    responses: list[Any] = await asyncio.gather(*(egress.request("GET", target.url, timeout=20) for _ in range(250)))
    assert {response.status for response in responses} == {200}
    assert target.most_open <= 200


async def test_requests_that_were_given_up_leave_no_connection_behind(target: Target, egress: EgressClient) -> None:
    """More of them than the pool holds, some on a connection and some in the queue; then the pool serves as before."""

    async def never(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    target.script("/never", never)
    target.answer("/", body=b"ok")
    waiting = [asyncio.create_task(egress.request("GET", f"{target.url}/never", timeout=60)) for _ in range(230)]
    async with asyncio.timeout(60):
        while len(target.requests) < 150:
            await asyncio.sleep(0.01)
    for task in waiting:
        task.cancel()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(end) for end in ended} == {asyncio.CancelledError}
    responses = await asyncio.gather(*(egress.request("GET", target.url, timeout=10) for _ in range(100)))
    assert {response.status for response in responses} == {200}
