"""A real OAuth 2.0 provider on loopback, of the strict kind: a refresh token that comes twice ends its family."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote_plus, urlencode, urlsplit

CLIENT_ID, CLIENT_SECRET = "gateway", "canary-client/secret+%"


class OAuthProvider:
    """Grants tokens at ``/token``, sends people on at ``/authorize``, and takes tokens at ``/api``."""

    def __init__(self) -> None:
        self.url = ""
        #: grant type and what came of it, for each request of a token
        self.asked: list[tuple[str, str]] = []
        #: seconds of life of what is granted
        self.life = 3600
        #: refuse this many requests of tokens with this status
        self.outage: list[int] = []
        #: a refresh token that comes again is given what it was given before
        self.forgives = False
        #: whether answers of ``/token`` leave; what they say is done before that
        self.answers = threading.Event()
        self.answers.set()
        #: every token and every code that was given, each with what encodings change
        self.given: list[str] = []
        #: requests at ``/api``: status by status
        self.served: list[int] = []
        self._lock = threading.Lock()
        self._good: dict[str, float] = {}
        self._family: dict[str, int] = {}
        self._spent: dict[str, dict[str, Any]] = {}
        self._ended: set[int] = set()
        self._codes: dict[str, dict[str, str]] = {}

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def refreshes(self) -> list[str]:
        """What came of each refresh."""
        return [outcome for grant, outcome in self.asked if grant == "refresh_token"]

    def client(self, **changes: Any) -> dict[str, Any]:
        """The data of a credential of type ``oauth2``."""
        data = {
            "grantType": "authorization_code",
            "tokenUrl": f"{self.url}/token",
            "authorizationUrl": f"{self.url}/authorize?prompt=consent",
            "clientId": CLIENT_ID,
            "clientSecret": CLIENT_SECRET,
            "scopes": ["read", "write"],
        }
        return {name: value for name, value in (data | changes).items() if value is not None}

    def expired(self, **changes: Any) -> dict[str, Any]:
        """The data of a credential whose access token has ended."""
        granted = self._grant(None)
        self._good.clear()
        return self.client(
            accessToken=granted["access_token"],
            refreshToken=granted["refresh_token"],
            expiresAt="2001-01-01T00:00:00Z",
            **changes,
        )

    def revoke_access(self) -> None:
        """Take no access token that was granted so far, though none has ended."""
        self._good.clear()

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        grant = form.get("grant_type", "")
        with self._lock:
            if self.outage:
                status = self.outage.pop(0)
                answer: dict[str, Any] = {}
            else:
                status, answer = self._decide(grant, form, authorization)
            self.asked.append((grant, answer.get("error", "granted" if status == 200 else str(status))))
            if status != 200:
                # As the worst of them do: they repeat what they were sent.
                answer = answer | {"error_description": f"no to {form} of {authorization}"}
        self.answers.wait(30)
        return status, answer

    def _decide(self, grant: str, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        pair = base64.b64encode(f"{CLIENT_ID}:{quote_plus(CLIENT_SECRET)}".encode()).decode()
        in_body = (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        if authorization != f"Basic {pair}" and not in_body:
            return 401, {"error": "invalid_client"}
        match grant:
            case "client_credentials":
                return 200, {name: value for name, value in self._grant(None).items() if name != "refresh_token"}
            case "authorization_code":
                begun = self._codes.pop(form["code"], None)
                challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest())
                if begun is None or challenge.decode().rstrip("=") != begun["code_challenge"]:
                    return 400, {"error": "invalid_grant"}
                return 200, self._grant(None)
            case "refresh_token":
                return self._refresh(form["refresh_token"])
        return 400, {"error": "unsupported_grant_type"}

    def _refresh(self, token: str) -> tuple[int, dict[str, Any]]:
        family = self._family.get(token)
        if family is None or family in self._ended:
            return 400, {"error": "invalid_grant"}
        if token in self._spent:
            if self.forgives:
                return 200, self._spent[token]
            self._ended.add(family)
            return 400, {"error": "invalid_grant"}
        self._spent[token] = self._grant(family)
        return 200, self._spent[token]

    def _grant(self, family: int | None) -> dict[str, Any]:
        access, refresh = (f"canary-{kind}/{secrets.token_hex(8)}+~" for kind in ("access", "refresh"))
        self.given += [access, refresh]
        self._good[access] = time.monotonic() + self.life
        self._family[refresh] = len(self._family) if family is None else family
        return {"access_token": access, "token_type": "Bearer", "expires_in": self.life, "refresh_token": refresh}

    def authorize(self, query: dict[str, str]) -> str:
        code = f"canary-code/{secrets.token_hex(8)}+~"
        self.given.append(code)
        self._codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def serve(self, authorization: str) -> int:
        token = authorization.removeprefix("Bearer ")
        status = 200 if self._good.get(token, 0.0) > time.monotonic() else 401
        self.served.append(status)
        return status


@contextmanager
def open_provider() -> Iterator[OAuthProvider]:
    provider = OAuthProvider()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/authorize":
                self._answer(302, {}, location=provider.authorize(dict(parse_qsl(parts.query))))
            else:
                self._answer(provider.serve(self.headers.get("Authorization", "")), {"told": dict(self.headers)})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            authorization = self.headers.get("Authorization", "")
            if urlsplit(self.path).path == "/token":
                form = {name: values[0] for name, values in parse_qs(body).items()}
                self._answer(*provider.token(form, authorization))
            else:
                self._answer(provider.serve(authorization), {})

        def _answer(self, status: int, body: dict[str, Any], **headers: str) -> None:
            content = json.dumps(body).encode()
            try:
                self.send_response(status)
                for name, value in (headers | {"Content-Type": "application/json"}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except ConnectionError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Keep it to `asked` and `served`."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 256
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    provider.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.answers.set()
        server.shutdown()
        server.server_close()
        thread.join()
