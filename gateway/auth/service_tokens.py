"""Service tokens: what a worker shows to the API when it asks something of it for a tenant.

A token carries one permission in one tenant, for a minute. It is sealed with the tenant's key, which workers have
anyway, so that nothing is stored of it and no worker needs a key of its own, let alone the administrator's.
"""

from datetime import datetime, timedelta

from msgspec import Struct

from gateway.auth.principal import Principal
from gateway.auth.sealed import seal, unseal
from plugins.storage.database import now
from plugins.vault.keys import Vault

PREFIX = "gws_"

LIFETIME = timedelta(seconds=60)

#: what workers ask of the API; a token for anything else is none
PERMISSIONS = frozenset({"executions.start", "executions.control"})

_PLACE = "service.token"


class ServicePrincipal(Struct, frozen=True, kw_only=True):
    principal: Principal
    expires_at: datetime


class _Content(Struct, frozen=True):
    #: who shows it, for the audit trail
    name: str
    permission: str
    expires_at: datetime


class ServiceTokens:
    """Mints tokens and takes them back."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def mint(self, tenant_id: str, permission: str, *, name: str) -> str:
        """Return a token with which the service `name` may do one thing in a tenant.

        Raises:
            ValueError: that is nothing that a service may do.
            VaultError: the tenant is unknown, or its keys were destroyed.
        """
        if permission not in PERMISSIONS:
            raise ValueError(f"no service has the permission {permission!r}")
        return PREFIX + await seal(self._vault, tenant_id, _Content(name, permission, now() + LIFETIME), _PLACE)

    async def redeem(self, token: str) -> ServicePrincipal | None:
        """Return who shows this token; ``None``: it is none of ours, or too old."""
        if not token.startswith(PREFIX):
            return None
        found = await unseal(self._vault, token.removeprefix(PREFIX), _PLACE, _Content)
        if found is None:
            return None
        tenant_id, content = found
        if content.expires_at < now() or content.permission not in PERMISSIONS:
            return None
        principal = Principal(
            id=f"service:{content.name}",
            tenant_id=tenant_id,
            role="service",
            permissions=frozenset({content.permission}),
        )
        return ServicePrincipal(principal=principal, expires_at=content.expires_at)
