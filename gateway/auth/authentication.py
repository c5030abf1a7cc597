"""Who is calling, and whether they may: decided before anything of a request is read."""

import hmac
import time
from urllib.parse import parse_qs

import structlog
from litestar.datastructures import Headers
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway.auth.keys import find_by_key
from gateway.auth.pepper import NO_PEPPER, Pepper
from gateway.auth.permissions import PERMISSIONS, PUBLIC, granted
from gateway.auth.principal import Principal
from gateway.auth.service_tokens import PREFIX, ServiceTokens
from gateway.auth.tickets import Tickets
from gateway.auth.tokens import LEEWAY, Tokens
from gateway.errors import Forbidden, Unauthenticated
from gateway.installation import INSTALLATION
from plugins.storage.database import Database, now
from plugins.storage.last_used import LastUsed
from plugins.storage.tenants import find_tenant

#: seconds that a key once found is trusted without asking the database: the longest that one still works after it has
#: expired or was revoked by another process
TRUST = 5.0
_MOST_CACHED = 10_000


class Authenticator:
    """Finds the principal of an ``Authorization`` header.

    Args:
        database: holds the keys.
        tokens: verifies those of the issuers that an operator trusts.
        service_tokens: takes back what workers show.
        admin_key: the key of the installation's administrator, where there is one.
        pepper: what keys are hashed with.
        last_used: is told of each use of a key.
    """

    def __init__(
        self,
        database: Database,
        tokens: Tokens,
        service_tokens: ServiceTokens,
        *,
        admin_key: str | None,
        pepper: Pepper,
        last_used: LastUsed,
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._service_tokens = service_tokens
        self._pepper = pepper
        self._last_used = last_used
        self._admin_digest = None if admin_key is None else NO_PEPPER.digest(admin_key)
        #: digest of a key or token → its principal, until when; never the key itself
        self._known: dict[bytes, tuple[Principal, float]] = {}

    async def authenticate(self, authorization: str | None) -> Principal:
        """Return who presents this header.

        Raises:
            Unauthenticated: nobody that we know.
            IssuerUnavailable: whose token it is cannot be said now.
        """
        if not authorization:
            raise Unauthenticated("Send an API key: Authorization: Bearer gw_…")
        scheme, _, key = authorization.partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            raise Unauthenticated("Only the Bearer scheme is known: Authorization: Bearer gw_…")
        presented = NO_PEPPER.digest(key)
        if self._admin_digest is not None and hmac.compare_digest(self._admin_digest, presented):
            return _ADMIN
        principal, until = self._known.get(presented, (None, 0.0))
        if principal is None or until < time.monotonic():
            principal, trusted = await self._find(key)
            if len(self._known) >= _MOST_CACHED:
                self._known.clear()
            self._known[presented] = (principal, time.monotonic() + trusted)
        if principal.id.startswith("key_"):
            self._last_used.note(principal.tenant_id, principal.id)
        return principal

    async def admit(self, principal: Principal) -> Principal:
        """Return who shows a ticket, unless there is no such tenant any more.

        Raises:
            Unauthenticated: its tenant is being shredded.
        """
        if await self._is_closed(principal):
            raise Unauthenticated("This ticket is not valid here, or not any more; ask for a new one.")
        return principal

    def forget(self, key_id: str) -> None:
        """Trust a key no longer, from now on, in this process."""
        self._known = {known: entry for known, entry in self._known.items() if entry[0].id != key_id}

    def forget_tenant(self, tenant_id: str) -> None:
        """Trust no key of a tenant any longer, from now on, in this process."""
        self._known = {known: entry for known, entry in self._known.items() if entry[0].tenant_id != tenant_id}

    async def _is_closed(self, principal: Principal) -> bool:
        return await find_tenant(self._database, principal.tenant_id) is None

    async def _find(self, key: str) -> tuple[Principal, float]:
        """Return whose this is, and for how many seconds to trust in it."""
        if key.startswith(PREFIX):
            service = await self._service_tokens.redeem(key)
            if service is None or await self._is_closed(service.principal):
                raise Unauthenticated("This service token is not valid, or not any more.")
            return service.principal, min(TRUST, (service.expires_at - now()).total_seconds())
        if self._tokens.is_token(key):
            verified = await self._tokens.verify(key)
            return verified.principal, min(TRUST, verified.expires_at + LEEWAY - time.time())
        record = await find_by_key(self._database, key, self._pepper)
        if record is None or not record.is_valid(now()):
            # One answer for never issued, revoked and expired: which it was is not the caller's to learn.
            raise Unauthenticated("This API key is not valid.")
        principal = Principal(
            id=record.id,
            tenant_id=record.tenant_id,
            role=record.role,
            permissions=granted(record.role, record.scopes),
        )
        return principal, TRUST


class Authentication(ASGIMiddleware):
    """Lets a request through to its route when its principal has the permission that the route declares."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        permission = scope["route_handler"].opt.get("permission")
        if permission != PUBLIC:
            authenticator: Authenticator = scope["litestar_app"].state.authenticator
            principal = await _principal(authenticator, scope)
            if permission not in principal.permissions:
                raise Forbidden(_refusal(principal, permission))
            scope["auth"] = principal
            structlog.contextvars.bind_contextvars(tenant_id=principal.tenant_id)
        await next_app(scope, receive, send)


async def _principal(authenticator: Authenticator, scope: Scope) -> Principal:
    authorization = Headers.from_scope(scope).get("authorization")
    if authorization is None and scope["route_handler"].opt.get("takes_ticket"):
        ticket = parse_qs(scope["query_string"].decode("latin-1")).get("ticket")
        if ticket:
            tickets: Tickets = scope["litestar_app"].state.platform.tickets
            return await authenticator.admit(await tickets.redeem(ticket[0], scope["path"]))
    return await authenticator.authenticate(authorization)


def _refusal(principal: Principal, permission: str | None) -> str:
    if permission is None:
        return "This route is open to nobody."
    if principal.is_admin:
        return "The administrator's key belongs to no tenant; use a key of the tenant."
    return f"This key ({principal.role}) does not have the permission {permission}."


_ADMIN = Principal(id="admin", tenant_id=INSTALLATION, role="admin", permissions=PERMISSIONS["admin"])
