"""Secrets are where they are used and nowhere else: every file, log and answer of an installation is searched."""

import base64
import contextlib
import hmac
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
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from gateway.up.folder import DevFile
from plugins.sdk.credential import Secret
from plugins.signing import StandardWebhooks
from tests.e2e.installation import CLOSED, SETTLED, wait_for
from tests.figures import Figures
from tests.oauth_provider import CLIENT_ID, CLIENT_SECRET, OAuthProvider, open_provider
from tests.running_up import running_up
from tests.servers import free_port_now

#: each with what encodings change: quotes, slashes, spaces, letters beyond ASCII
NUMBER = 20


def canary(number: int) -> str:
    return f'cnry{number:02d}/"+ü% {number * 7919:08x}é\\z'


#: in the clear on purpose: a search that misses it finds nothing
VISIBLE = "visible-canary-tag"

#: what users write and workflows hand on: for its tenant to read, and in no store, log or metric
CONTENT = 'cntnt/"+ü% of a user é\\z'


def forms(secret: str) -> set[str]:
    """A secret as it stands, and as base64, URLs, JSON and Python write it; base64 of whatever it stands in, too."""
    return {
        secret,
        *(variant(within(secret, before)) for before in range(3) for variant in (str, as_in_urls)),
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
    }


def within(secret: str, before: int) -> str:
    """What is always there in the base64 of something that holds a secret, after so many bytes modulo three."""
    raw = secret.encode()
    encoded = base64.b64encode(b"-" * before + raw).decode().rstrip("=")
    # Letters that hold bits of what stands before or behind are left out.
    return encoded[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6]


def as_in_urls(encoded: str) -> str:
    return encoded.replace("+", "-").replace("/", "_")


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
            told = {"path": self.path, "headers": dict(self.headers), "list": [{"id": 1}]}
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


@contextmanager
def open_mail_server() -> Iterator[int]:
    """A mail server that lets in whoever has the one password, and tells the others what they said; yields its port."""

    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        said = data.password.decode()
        if said == OTHERS["smtp"]:
            return AuthResult(success=True)
        return AuthResult(success=False, handled=False, message=f"535 5.7.8 {ascii_of(said)} is wrong")

    class Discards:
        async def handle_DATA(self, *_: object) -> str:  # noqa: N802 - aiosmtpd's name
            return "250 OK"

    port = free_port_now()
    controller = Controller(
        Discards(), hostname="127.0.0.1", port=port, authenticator=authenticate, auth_require_tls=False
    )
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


@contextmanager
def listening(client: httpx.Client, dev: DevFile, tokens: dict[str, str]) -> Iterator[list[str]]:
    """Watch all executions, as a browser does, until the installation stops; yields what was heard."""
    tokens["ticket"] = client.post("/v1/stream-tickets").json()["ticket"]
    heard: list[str] = []

    def listen() -> None:
        where = f"{dev.url}/v1/events/stream"
        with (
            contextlib.suppress(httpx.TransportError),
            httpx.stream("GET", where, params={"ticket": tokens["ticket"]}, timeout=None, trust_env=False) as stream,
        ):
            heard.extend(stream.iter_text())

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    yield heard
    thread.join(30)


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
        **{name: forms(secret) for name, secret in OTHERS.items()},
        "signing key": forms(f"whsec_{base64.b64encode(OTHERS['signing'].encode()).decode()}"),
        **{given: forms(given) for given in provider.given},
        "client": forms(CLIENT_SECRET) | {pair},
        "another client": forms(WRONG_SECRET),
    }


#: secrets of the types that are not sent as they stand
OTHERS = {
    name: canary(NUMBER + place) for place, name in enumerate(("smtp", "wrong smtp", "database", "signing", "hook"))
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


@pytest.mark.timeout(420)
def test_no_secret_is_found_anywhere_but_where_it_was_used(tmp_path: Path, figures: Figures) -> None:
    with open_receiver() as receiver, open_provider() as provider, open_mail_server() as mail_server:
        hosts = (receiver.url.removeprefix("http://"), f"127.0.0.1:{provider.port}", f"127.0.0.1:{mail_server}")
        environment = {"GATEWAY_EGRESS_ALLOW": ",".join((*hosts, "127.0.0.1:1")), "GATEWAY_LOG_LEVEL": "debug"}
        with running_up(tmp_path / "data", environment=environment) as up:
            dev = up.ready()
            headers = {"Authorization": f"Bearer {dev.api_key}"}
            answers: list[str] = []
            tokens: dict[str, str] = {}
            with (
                httpx.Client(base_url=dev.url, headers=headers, trust_env=False, timeout=60) as client,
                listening(client, dev, tokens) as heard,
            ):
                use(client, receiver, answers)
                use_granted(client, receiver, provider, answers)
                use_others(client, receiver, mail_server, answers, tokens)
                use_content(client, receiver, answers, tokens)
                metrics = client.get("/metrics").text
                answers += [client.get(path).text for path in ("/v1/audit", "/v1/credentials", "/v1/dead-letters")]
                seen = "".join(receiver.seen)
                # Each was used, and the search finds what is there.
                assert {number for number in range(NUMBER) if used(number, seen)} == set(range(NUMBER))
                assert set(provider.asked) == OUTCOMES
                assert sum(token in seen for token in provider.given) >= 3
                assert any(VISIBLE.encode() in content for _, content in files(up.folder.path))
                told = "".join(answers)
                assert "***" in told
                secrets = canaries(provider)
                assert found_in(told.encode(), {"content": forms(CONTENT)})
                withheld = (
                    secrets | {"content": forms(CONTENT)} | {name: forms(token) for name, token in tokens.items()}
                )
                places = {
                    "answers": found_in(told.encode(), secrets),
                    "metrics": found_in(metrics.encode(), withheld),
                    **{f"running: {name}": found_in(content, withheld) for name, content in files(up.folder.path)},
                }
                up.stop()
            assert found_in("".join(heard).encode(), {"content": forms(CONTENT)})
            places |= {"stream": found_in("".join(heard).encode(), secrets)}
            places |= {"output": found_in(up.output.read_bytes(), withheld)}
            places |= {f"stopped: {name}": found_in(content, withheld) for name, content in files(up.folder.path)}
    assert {place: names for place, names in places.items() if names} == {}
    figures(
        "T22",
        credentials=NUMBER + len(OTHERS),
        granted_tokens=len(provider.given),
        our_tokens=len(tokens),
        requests=len(receiver.seen),
        forms=sum(map(len, withheld.values())),
        places=len(places),
        found=0,
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


def use_others(
    client: httpx.Client, receiver: Receiver, mail_server: int, answers: list[str], tokens: dict[str, str]
) -> None:
    """Use what logs in to mail servers and databases, what signs and what is signed with; keep every answer."""

    def send(method: str, path: str, body: Any = None) -> Any:
        answer = client.request(method, path, json=body)
        answers.append(answer.text)
        return answer.json()

    def make(type: str, **data: Any) -> str:
        return str(send("POST", "/v1/credentials", {"type": type, "name": type, "data": data})["id"])

    def run(type: str, payload: Any, **credentials: str) -> str:
        job = {"type": type, "payload": payload, "credentials": credentials, "maxAttempts": 1, "timeout": "5s"}
        path = f"/v1/jobs/{send('POST', '/v1/jobs', job)['id']}"
        status = wait_for(lambda: ended if (ended := client.get(path).json()["status"]) in SETTLED else None, path, 120)
        answers.append(client.get(path).text)
        return str(status)

    mail = {"to": "ann@example.com", "from": "bob@example.com", "subject": "x", "text": "x"}
    for name, status in (("smtp", "completed"), ("wrong smtp", "dead")):
        data = {
            "host": "127.0.0.1",
            "port": mail_server,
            "username": "bob",
            "password": OTHERS[name],
            "security": "none",
        }
        assert run("email.send", mail, smtp=make("smtp", **data)) == status, answers[-1]

    place = receiver.url.removeprefix("http://")
    password = quote(OTHERS["database"], safe="")
    url = f"postgresql://ada:{password}@{place}/shop?sslmode=disable"
    for path in ("/ok", "/denied"):
        source = {"type": "http", "url": f"{receiver.url}{path}", "items": "/list"}
        sink = {"type": "sql", "table": "t", "columns": {"id": "/id"}, "key": ["id"]}
        assert run("data.sync", {"source": source, "sink": sink}, database=make("database", url=url)) == "dead"

    key = Secret(f"whsec_{base64.b64encode(OTHERS['signing'].encode()).decode()}")
    for path, status in (("/ok", "completed"), ("/denied", "dead")):
        event = {"url": receiver.url + path, "event": "order.paid"}
        assert run("webhook.deliver", event, signing=make("signing", secret=key.reveal())) == status, answers[-1]
    signing = make("signing", secret=key.reveal())
    plain = make("signing", secret=OTHERS["hook"])
    triggers = [
        {"id": "standard", "type": "webhook", "config": {"secret": signing, "respond": "workflow"}},
        {"id": "plain", "type": "webhook", "config": {"secret": plain, "scheme": "hmac"}},
    ]
    seen = {"id": "seen", "pluginId": "respond", "config": {"body": "{{ trigger }}"}}
    drawn = {"name": "x", "definition": {"nodes": [seen], "triggers": triggers}}
    where = f"/v1/workflows/{send('POST', '/v1/workflows', drawn)['id']}"
    send("POST", f"{where}/versions")
    for trigger in send("POST", f"{where}/activate")["triggers"]:
        tokens[f"hook {trigger['id']}"] = trigger["url"].rpartition("/")[2]
        for body, at in ((b"{}", 0), (b"{broken", 0), (b"{}", -900)):
            timestamp = int(time.time()) + at
            signed = StandardWebhooks().sign(key, id=f"msg_{body!r}", timestamp=timestamp, body=body)
            digest = hmac.new(OTHERS["hook"].encode(), body, "sha256").hexdigest()
            for headers in (
                {**signed, "X-Signature": digest},
                {**signed, "webhook-signature": "v1,AA", "X-Signature": "0"},
            ):
                answer = client.post(
                    trigger["url"], content=body, headers={**headers, "Content-Type": "application/json"}
                )
                answers.append(answer.text)
    answers.append(client.get("/v1/inbound-events").text)


def use_content(client: httpx.Client, receiver: Receiver, answers: list[str], tokens: dict[str, str]) -> None:
    """Have users write `CONTENT` wherever they write something, and workflows hand it on; keep every answer."""

    def send(method: str, path: str, body: Any = None, **headers: str) -> Any:
        answer = client.request(method, path, json=body, headers=headers)
        answers.append(answer.text)
        assert answer.is_success, answer.text
        return answer.json()

    def node(id: str, plugin: str, config: Any, **more: Any) -> Any:
        return {"id": id, "label": CONTENT, "pluginId": plugin, "config": config, **more}

    body = {"method": "POST", "url": f"{receiver.url}/ok", "body": {"said": "{{ vars.said }}"}, "idempotent": True}
    inner = [node("in", "set", {"values": {"x": "{{ item }}"}})]
    nodes = [
        node("hear", "wait", {"signal": "go"}),
        node("ask", "approval", {"title": CONTENT, "message": "{{ vars.said }}"}),
        # Too large for a payload, and for a row.
        node("large", "set", {"values": {"all": "{{ range(30000).map(n, vars.said) }}"}}),
        node("each", "foreach", {"items": "{{ [vars.said, trigger] }}", "nodes": inner}),
        node("post", "http.request", body),
        node("alone", "http.request", body, isolate=True),
        node("wrong", "set", {"values": {"x": "{{ int(vars.said) }}"}}, onError="continue"),
        node("denied", "http.request", body | {"url": f"{receiver.url}/denied"}, isolate=True, onError="continue"),
        node(
            "job", "job.enqueue", {"type": "http.request", "payload": {"url": receiver.url, "body": "{{ vars.said }}"}}
        ),
        node("end", "stop", {"status": "failed", "message": "{{ vars.said + nodes.hear.output }}"}, join="all"),
    ]
    edges = [{"source": each["id"], "target": "end"} for each in nodes if each["id"] not in ("ask", "end")]
    edges.append({"source": "ask", "sourceHandle": "approved", "target": "end"})
    definition = {"variables": {"said": CONTENT}, "nodes": nodes, "edges": edges}
    where = f"/v1/workflows/{send('POST', '/v1/workflows', {'name': 'x', 'definition': definition})['id']}"
    send("POST", f"{where}/versions")
    execution = (
        f"/v1/executions/{send('POST', f'{where}/executions', {'input': CONTENT}, **{'Idempotency-Key': 'c'})['id']}"
    )
    (opened,) = wait_for(lambda: client.get(f"{execution}/approvals").json()["items"] or None, "an approval")
    tokens["approval"] = opened["links"][0]["token"]
    send("POST", f"/v1/approvals/{tokens['approval']}", {"decision": "approved", "comment": CONTENT})
    send("POST", f"{execution}/signal", {"name": "go", "payload": CONTENT})
    wait_for(lambda: client.get(execution).json()["status"] in CLOSED or None, execution)
    ended = send("GET", execution)
    assert ended["error"]["message"] == 2 * CONTENT, ended
    answers.append(client.get(f"{execution}/steps?limit=200").text)
    for path, status in (("/ok", "completed"), ("/denied", "dead")):
        payload = {"method": "POST", "url": receiver.url + path, "body": CONTENT}
        posted = {"type": "http.request", "payload": payload, "maxAttempts": 1}
        job = f"/v1/jobs/{send('POST', '/v1/jobs', posted)['id']}"
        wait_for(lambda job=job, status=status: client.get(job).json()["status"] == status or None, job)  # type: ignore[misc]
        answers.append(client.get(job).text)
    made = send("POST", "/v1/endpoints", {"url": f"{receiver.url}/ok", "description": CONTENT})
    tokens["secret of an endpoint"] = made["secret"]
    (sent,) = send("POST", "/v1/deliveries", {"type": "order.paid", "data": {"said": CONTENT}})["items"]
    path = f"/v1/deliveries/{sent['id']}"
    wait_for(lambda: client.get(path).json()["delivery"]["status"] == "delivered" or None, path)
    answers.append(client.get(path).text)
    tokens["key"] = send("POST", "/v1/api-keys", {"name": "x", "role": "viewer"})["key"]
    client.get("/v1/me", headers={"Authorization": f"Bearer {tokens['key']}"}).raise_for_status()
