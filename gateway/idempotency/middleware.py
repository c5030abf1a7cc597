"""``Idempotency-Key``: a POST that is sent again is answered again, byte for byte, and acts once.

After https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/. Only answers that something came of
(2xx) are remembered: after any other the same key may be tried again, mended.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import structlog
from litestar import Request
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import BadRequest, BodyFault, KeyInFlight
from gateway.idempotency.store import LEASE, Answer, Answers, Slot, slot_of

log = structlog.get_logger(__name__)

#: seconds that a duplicate waits for the first request's answer
PATIENCE = 5.0
#: the largest body that is remembered, in bytes
MAX_ANSWER = 2**20

_FORM = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")
_LONGEST_KEY = 200
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25


class Idempotency(ASGIMiddleware):
    """Remembers the answers to POSTs that carry a key. Its place is after authentication: keys are a tenant's own."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        request: Request[Any, Any, Any] = Request(scope, receive, send)
        key = read_key(request)
        if key is None or request.method != "POST" or "auth" not in scope:
            await next_app(scope, receive, send)
            return
        answers: Answers = scope["litestar_app"].state.platform.answers
        slot = slot_of(
            request.auth.tenant_id,
            method=request.method,
            path=scope["path"],
            key=key,
            query=scope["query_string"],
            body=await request.body(),
        )
        answer = await _claim(answers, slot)
        if isinstance(answer, str):
            answer = await _first_answer(answers, slot, answer, _Recorder(scope, receive, next_app))
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body, "more_body": False})


def read_key(request: Request[Any, Any, Any]) -> str | None:
    """Return the request's idempotency key.

    Raises:
        BadRequest: it is not 1 to 255 printable ASCII characters.
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not _FORM.fullmatch(key):
        detail = "must be 1 to 255 printable ASCII characters"
        raise BadRequest(f"The Idempotency-Key {detail}.", errors=[BodyFault("Idempotency-Key", detail)])
    return key


def effect_key(request: Request[Any, Any, Any], *scope: str) -> str | None:
    """Return the key under which the domain itself acts once, for routes whose domain can.

    The remembered answer may be lost with a process that dies between effect and answer; this key is not.

    Args:
        request: may carry an ``Idempotency-Key``.
        scope: what the key is unique within, besides the tenant.
    """
    key = read_key(request)
    return None if key is None else scoped_key(*scope, key)


def scoped_key(*parts: str) -> str:
    """Join the parts of a key; long ones are hashed, so that every store can hold it."""
    key = ":".join(parts)
    return key if len(key) <= _LONGEST_KEY else sha256(key.encode()).hexdigest()


async def _claim(answers: Answers, slot: Slot) -> str | Answer:
    """Become the one who answers, or wait for its answer.

    Raises:
        KeyInFlight: it did not come in time.
    """
    deadline = asyncio.get_running_loop().time() + PATIENCE
    pause = _FIRST_PAUSE
    while (claimed := await answers.claim(slot)) is None:
        if asyncio.get_running_loop().time() > deadline:
            raise KeyInFlight(
                "The first request with this Idempotency-Key is still being answered.", headers={"Retry-After": "5"}
            )
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    return claimed


async def _first_answer(answers: Answers, slot: Slot, claim: str, recorder: "_Recorder") -> Answer:
    """Have the request answered, and remember what came of it before anybody sees it."""
    try:
        async with _renewed(answers, slot, claim):
            answer = await recorder.record()
    except Exception:
        await answers.release(slot, claim)
        raise
    if 200 <= answer.status < 300 and len(answer.body) <= MAX_ANSWER:
        await answers.remember(slot, claim, answer)
    else:
        await answers.release(slot, claim)
    return answer


@asynccontextmanager
async def _renewed(answers: Answers, slot: Slot, claim: str) -> AsyncIterator[None]:
    """Hold the claim for as long as the block runs."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(LEASE / 3)
            try:
                await answers.renew(slot, claim)
            except Exception as error:  # the next renewal may succeed, and the answer does not depend on it
                log.warning("idempotency.claimNotRenewed", error=type(error).__name__)

    renewal = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewal.cancel()


class _Recorder:
    """Runs the application and keeps what it sends."""

    def __init__(self, scope: Scope, receive: Receive, app: ASGIApp) -> None:
        self._scope, self._receive, self._app = scope, receive, app
        self._status = 500
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = bytearray()

    async def record(self) -> Answer:
        await self._app(self._scope, self._receive, self._keep)
        return Answer(self._status, self._headers, bytes(self._body))

    async def _keep(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], list(message["headers"])
        elif message["type"] == "http.response.body":
            self._body += message["body"]
