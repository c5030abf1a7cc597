"""Stream tickets: what a browser shows in a URL, because its EventSource cannot set headers.

A ticket opens one path, for reading, for a minute. It is sealed with the tenant's key, so nothing is stored of it.
"""

import base64
import binascii
import re
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from gateway.auth.permissions import Role
from gateway.auth.principal import Principal
from gateway.errors import Unauthenticated
from plugins.storage.database import now
from plugins.vault.errors import VaultError
from plugins.vault.keys import Vault

#: how long a ticket may be shown for the first time, and again after a broken connection
LIFETIME = timedelta(seconds=60)

#: what the bearer of a ticket may do
_PERMISSIONS = frozenset({"executions.read"})

_PLACE = "stream.ticket"
_LONGEST = 2_000
_TENANT = re.compile(r"[A-Za-z0-9_]{1,40}")


class Ticket(Struct, frozen=True, kw_only=True):
    ticket: str
    expires_at: datetime


class _Content(Struct, frozen=True):
    path: str
    key_id: str
    role: Role
    expires_at: datetime


class Tickets:
    """Issues tickets and takes them back."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def issue(self, principal: Principal, path: str) -> Ticket:
        """Return a ticket with which `principal` may read `path`, and nothing else."""
        expires_at = now() + LIFETIME
        sealer = await self._vault.sealer(principal.tenant_id)
        sealed = sealer.seal_json(_Content(path, principal.id, principal.role, expires_at), _PLACE)
        text = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
        return Ticket(ticket=f"{principal.tenant_id}.{text}", expires_at=expires_at)

    async def redeem(self, ticket: str, path: str) -> Principal:
        """Return who shows this ticket.

        Raises:
            Unauthenticated: it is none of ours, for another path, or too old.
        """
        tenant_id, _, text = ticket.partition(".")
        content = await self._open(tenant_id, text) if len(ticket) < _LONGEST and _TENANT.fullmatch(tenant_id) else None
        if content is None or content.path != path or content.expires_at < now():
            raise Unauthenticated("This ticket is not valid here, or not any more; ask for a new one.")
        return Principal(id=content.key_id, tenant_id=tenant_id, role=content.role, permissions=_PERMISSIONS)

    async def _open(self, tenant_id: str, text: str) -> _Content | None:
        try:
            sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            opened = (await self._vault.sealer(tenant_id)).open_json(sealed, _PLACE)
            return msgspec.convert(opened, _Content)
        except (VaultError, binascii.Error, ValueError):
            return None
