"""Secrets are where they are used and nowhere else: every file, log and answer of an installation is searched."""

import base64
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import httpx

from tests.e2e.installation import CLOSED, SETTLED, wait_for
from tests.oauth_provider import CLIENT_ID, CLIENT_SECRET, OAuthProvider, open_provider
from tests.running_up import running_up

#: each with what encodings change: quotes, slashes, spaces, letters beyond ASCII
NUMBER = 20


def canary(number: int) -> str:
    return f'cnry{number:02d}/"+ü% {number * 7919:08x}é\\z'


#: in the clear on purpose: a search that misses it finds nothing
VISIBLE = "visible-canary-tag"


def forms(secret: str) -> set[str]:
    """A secret as it stands, and as base64, URLs, JSON and Python write it."""
    encoded = base64.b64encode(secret.encode()).decode()
    return {
        secret,
        encoded,
        encoded.rstrip("="),
        base64.urlsafe_b64encode(secret.encode()).decode().rstrip("="),
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
    }


class Receiver:
    """A server that is anything but discreet: it repeats what it is sent, in its answers and its errors."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.url = ""


@contextmanager
def open_receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told = {"path": self.path, "headers": dict(self.headers)}
            receiver.seen.append(json.dumps(told))
            way = self.path.split("?")[0]
            if way == "/slow":
                time.sleep(2)
            if way in ("/reset", "/slow"):
                self.close_connection = True
                return
            if way == "/garbage":
                self.wfile.write(b"\x00\x01 " + json.dumps(told).encode() + b"\r\n\r\n")
                self.close_connection = True
                return
            status = {"/denied": 401, "/broken": 500, "/moved": 302, "/busy": 429}.get(way, 200)
            body = json.dumps(told).encode()
            self.send_response(status, "No" if status >= 400 else "OK")
            self.send_header("Content-Type", "application/json")
            self.send_header("X-Told", quote(json.dumps(told["headers"])))
            if status == 302:
                self.send_header("Location", f"http://127.0.0.1:1/?from={quote(self.path)}")
            self.send_header("Content-Length", str(len(body)))
            with contextlib.suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(body)

        do_GET = do_POST = answer  # the library's names

        def log_message(self, *_: object) -> None:
            """Keep it to `seen`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def data_of(number: int) -> tuple[str, dict[str, Any]]:
    """The type of a credential and what is secret in it."""
    secret = canary(number)
    match number % 4:
        case 0:
            # A header takes what RFC 9110 lets it.
            return "bearer", {"token": ascii_of(secret)}
        case 1:
            return "basic", {"username": "someone", "password": secret}
        case 2:
            return "apiKey", {"name": "X-Key", "value": ascii_of(secret), "in": "header"}
        case _:
            return "apiKey", {"name": "key", "value": secret, "in": "query"}


def ascii_of(secret: str) -> str:
    return secret.encode("ascii", "ignore").decode()


def secrets_of(number: int) -> set[str]:
    kind, data = data_of(number)
    if kind == "basic":
        pair = base64.b64encode(f"someone:{data['password']}".encode()).decode()
        return forms(data["password"]) | {pair}
    return forms(data.get("token") or data["value"])


def canaries(provider: OAuthProvider) -> dict[str, set[str]]:
    """Everything secret that there is by now: its name → its forms."""
    pair = base64.b64encode(f"{CLIENT_ID}:{quote_plus(CLIENT_SECRET)}".encode()).decode()
    return {
        **{f"credential {number}": secrets_of(number) for number in range(NUMBER)},
        **{given: forms(given) for given in provider.given},
        "client": forms(CLIENT_SECRET) | {pair},
        "another client": forms(WRONG_SECRET),
    }


def found_in(content: bytes, secrets: dict[str, set[str]]) -> set[str]:
    return {
        name
        for name, written in secrets.items()
        for form in written
        if form.encode() in content or form.encode("utf-16-le") in content
    }


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield str(file.relative_to(folder)), file.read_bytes()


#: of a client that the provider does not know
WRONG_SECRET = "canary-nobody/secret+%"

WAYS = ("/ok", "/denied", "/broken", "/moved", "/slow", "/reset", "/garbage", "/busy")


def test_no_secret_is_found_anywhere_but_where_it_was_used(tmp_path: Path) -> None:
    with open_receiver() as receiver, open_provider() as provider:
        allowed = f"{receiver.url.removeprefix('http://')},127.0.0.1:{provider.port},127.0.0.1:1"
        environment = {"GATEWAY_EGRESS_ALLOW": allowed, "GATEWAY_LOG_LEVEL": "debug"}
        with running_up(tmp_path / "data", environment=environment) as up:
            dev = up.ready()
            headers = {"Authorization": f"Bearer {dev.api_key}"}
            answers: list[str] = []
            with httpx.Client(base_url=dev.url, headers=headers, trust_env=False, timeout=60) as client:
                use(client, receiver, answers)
                use_granted(client, receiver, provider, answers)
                answers += [client.get(path).text for path in ("/metrics", "/v1/audit", "/v1/credentials")]
            seen = "".join(receiver.seen)
            # Each was used, and the search finds what is there.
            assert {number for number in range(NUMBER) if used(number, seen)} == set(range(NUMBER))
            assert set(provider.asked) == OUTCOMES
            assert sum(token in seen for token in provider.given) >= 3
            assert any(VISIBLE.encode() in content for _, content in files(up.folder.path))
            told = "".join(answers)
            assert "***" in told
            secrets = canaries(provider)
            places = {
                "answers": found_in(told.encode(), secrets),
                "output": found_in(up.output.read_bytes(), secrets),
                **{f"running: {name}": found_in(content, secrets) for name, content in files(up.folder.path)},
            }
            up.stop()
            places |= {f"stopped: {name}": found_in(content, secrets) for name, content in files(up.folder.path)}
    assert {place: names for place, names in places.items() if names} == {}
    print(
        f"{NUMBER} credentials and {len(provider.given)} tokens and codes of OAuth 2.0, {len(receiver.seen)} requests,"
        f" {len(places)} places searched: found in none"
    )


def used(number: int, seen: str) -> bool:
    return any(form in seen or json.dumps(form)[1:-1] in seen for form in secrets_of(number))


def use(client: httpx.Client, receiver: Receiver, answers: list[str]) -> None:
    """Use every credential on both engines, in every way of succeeding and of failing; keep every answer."""

    def send(method: str, path: str, body: Any = None) -> Any:
        answer = client.request(method, path, json=body)
        answers.append(answer.text)
        return answer.json()

    followed: list[tuple[str, set[str]]] = []
    for number in range(NUMBER):
        kind, data = data_of(number)
        made = send("POST", "/v1/credentials", {"type": kind, "name": f"c{number}", "data": data})
        auth = {"auth": made["id"]}
        nodes = [
            {
                "id": f"n{place}",
                "pluginId": "http.request",
                "config": {"url": receiver.url + way, "timeout": "500ms"},
                "credentials": auth,
                "onError": "continue",
                "retry": {"maxAttempts": 2, "initialInterval": "10ms"},
            }
            for place, way in enumerate(WAYS if number % 4 == number // 4 else WAYS[: 2 + number % 3])
        ]
        # What was answered goes on through an expression, into an error that shows it, and out as the output.
        nodes.append({"id": "all", "pluginId": "set", "config": {"values": {"told": "{{ nodes.n0.output }}"}}})
        nodes.append(
            {"id": "bad", "pluginId": "set", "config": {"values": {"x": "{{ int(nodes.n0.output.body.path) }}"}}}
        )
        edges = [{"source": "n0", "target": "all"}, {"source": "n0", "target": "bad"}]
        workflow = send("POST", "/v1/workflows", {"name": "x", "definition": {"nodes": nodes, "edges": edges}})
        assert send("POST", f"/v1/workflows/{workflow['id']}/versions")["version"] == 1, answers[-1]
        started = send("POST", f"/v1/workflows/{workflow['id']}/executions", {"tags": [VISIBLE]})
        followed.append((f"/v1/executions/{started['id']}", CLOSED))
        for way in ("/ok", "/denied", "/garbage"):
            payload = {"url": receiver.url + way, "timeout": "500ms"}
            job = {"type": "http.request", "payload": payload, "credentials": auth, "maxAttempts": 1}
            followed.append((f"/v1/jobs/{send('POST', '/v1/jobs', job)['id']}", SETTLED))
        # Refused before it is used: by its hosts, by its plugins, by its type.
        bound = {"type": kind, "name": "b", "data": data, "allowedHosts": ["example.com"]}
        job = {"type": "http.request", "payload": {"url": receiver.url}, "maxAttempts": 1}
        elsewhere = send("POST", "/v1/credentials", bound)
        forbidden = send("POST", "/v1/jobs", job | {"credentials": {"auth": elsewhere["id"]}})
        followed.append((f"/v1/jobs/{forbidden['id']}", SETTLED))
        send("POST", "/v1/credentials", {"type": kind, "name": "c", "data": data | {"extra": data}})
        send("POST", "/v1/credentials", {"type": "smtp", "name": "c", "data": data})
    for path, ends in followed:
        wait_for(lambda path=path, ends=ends: client.get(path).json()["status"] in ends or None, path, 120)  # type: ignore[misc]
        answers.append(client.get(path).text)
        if path.startswith("/v1/executions"):
            answers.append(client.get(f"{path}/steps?limit=200").text)
            answers += [client.get(f"{path}/why/{node}").text for node in ("n0", "n1", "bad")]
    answers.append(client.get("/v1/jobs?status=dead&limit=200").text)


#: what is asked of the provider, and what comes of it
OUTCOMES = {
    ("authorization_code", "granted"),
    ("authorization_code", "invalid_grant"),
    ("client_credentials", "granted"),
    ("client_credentials", "invalid_client"),
    ("refresh_token", "granted"),
    ("refresh_token", "503"),
    ("refresh_token", "invalid_grant"),
}


def use_granted(client: httpx.Client, receiver: Receiver, provider: OAuthProvider, answers: list[str]) -> None:
    """Be granted tokens in every way, use and renew them, and be refused in every way; keep every answer."""

    def send(method: str, path: str, body: Any = None) -> Any:
        answer = client.request(method, path, json=body)
        answers.append(answer.text)
        return answer.json()

    def make(data: dict[str, Any]) -> str:
        return str(send("POST", "/v1/credentials", {"type": "oauth2", "name": "granted", "data": data})["id"])

    def come_back(id: str, **query: str) -> None:
        """Send a person to the provider and back; `query` is what another made of the way back."""
        begun = send("POST", f"/v1/credentials/{id}/authorize")
        back = httpx.get(begun["url"], trust_env=False).headers["location"]
        answers.append(client.get(httpx.URL(back).copy_merge_params(query)).text)

    def call(id: str, *ways: str) -> None:
        for way in ways:
            payload = {"url": receiver.url + way, "timeout": "500ms"}
            job = {"type": "http.request", "payload": payload, "credentials": {"auth": id}, "maxAttempts": 1}
            path = f"/v1/jobs/{send('POST', '/v1/jobs', job)['id']}"
            wait_for(lambda path=path: client.get(path).json()["status"] in SETTLED or None, path)  # type: ignore[misc]
            answers.append(client.get(path).text)
        answers.append(client.get(f"/v1/credentials/{id}").text)

    by_a_person = make(provider.client())
    come_back(by_a_person, code=WRONG_SECRET)
    come_back(by_a_person, error="access_denied", error_description=CLIENT_SECRET)
    come_back(by_a_person)
    call(by_a_person, *WAYS)
    machine = {"grantType": "client_credentials", "authorizationUrl": None}
    call(make(provider.client(**machine)), *WAYS)
    call(make(provider.client(**machine, clientSecret=WRONG_SECRET)), "/ok")
    expired = provider.expired()
    provider.outage = [503]
    ended = make(expired)
    call(ended, "/ok", "/ok")
    # Its refresh token has been used by now: the provider ends the family, and repeats what it was sent.
    call(make(expired), "/ok")
    call(ended, "/ok", "/denied")
