"""Stream tickets: what a browser shows in a URL, because its EventSource cannot set headers.

A ticket opens one path, for reading, for a minute. It is sealed with the tenant's key, so nothing is stored of it.
"""

from datetime import datetime, timedelta

from msgspec import Struct

from gateway.auth.permissions import Role
from gateway.auth.principal import Principal
from gateway.auth.sealed import seal, unseal
from gateway.errors import Unauthenticated
from plugins.storage.database import now
from plugins.vault.keys import Vault

#: how long a ticket may be shown for the first time, and again after a broken connection
LIFETIME = timedelta(seconds=60)

#: what the bearer of a ticket may do
_PERMISSIONS = frozenset({"executions.read"})

_PLACE = "stream.ticket"


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
        content = _Content(path, principal.id, principal.role, expires_at)
        return Ticket(ticket=await seal(self._vault, principal.tenant_id, content, _PLACE), expires_at=expires_at)

    async def redeem(self, ticket: str, path: str) -> Principal:
        """Return who shows this ticket.

        Raises:
            Unauthenticated: it is none of ours, for another path, or too old.
        """
        found = await unseal(self._vault, ticket, _PLACE, _Content)
        if found is None or found[1].path != path or found[1].expires_at < now():
            raise Unauthenticated("This ticket is not valid here, or not any more; ask for a new one.")
        tenant_id, content = found
        return Principal(id=content.key_id, tenant_id=tenant_id, role=content.role, permissions=_PERMISSIONS)
