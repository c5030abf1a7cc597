"""Endpoints: where a tenant is told of events, and by what secret."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Row, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from internal_jobs.errors import EndpointNotFound, InvalidEndpoint
from internal_jobs.webhooks.model import (
    Disabled,
    Endpoint,
    EndpointChange,
    EndpointPage,
    EndpointRequest,
    EndpointSecret,
)
from internal_jobs.webhooks.tables import endpoints, secrets_place, spec_place
from plugins.sdk.credential import Secret
from plugins.sdk.duration import parse_duration
from plugins.signing import new_secret
from plugins.storage.database import Database, now
from plugins.storage.ids import new_id
from plugins.vault.cipher import Sealer
from plugins.vault.keys import Vault

#: How long the secret before may sign beside a new one.
LONGEST_OVERLAP = timedelta(days=7)


class OpenedEndpoint(Struct, frozen=True, kw_only=True):
    """An endpoint as a delivery needs it."""

    id: str
    url: str
    events: tuple[str, ...]
    #: each signs; the present one first
    secrets: tuple[Secret, ...]

    def wants(self, type: str) -> bool:
        return any(
            pattern in ("*", type) or (pattern.endswith(".*") and type.startswith(pattern[:-1]))
            for pattern in self.events
        )


class Endpoints:
    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def create(self, tenant_id: str, request: EndpointRequest) -> EndpointSecret:
        """Keep an endpoint; its secret is shown this once.

        Raises:
            VaultError: the tenant is unknown, or its keys were destroyed.
        """
        id, secret = new_id("ep"), new_secret()
        sealer = await self._vault.sealer(tenant_id)
        row = {
            "tenant_id": tenant_id,
            "id": id,
            "spec_sealed": sealer.seal_json(msgspec.to_builtins(request), spec_place(id)),
            "secrets_sealed": sealer.seal_json([secret.reveal()], secrets_place(id)),
            "enabled": True,
            "failures": 0,
            "created_at": now(),
        }
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(endpoints.insert().values(row))
        return _with_secret(await self.get(tenant_id, id), secret)

    async def get(self, tenant_id: str, endpoint_id: str) -> Endpoint:
        """Return an endpoint.

        Raises:
            EndpointNotFound
        """
        async with self._database.read(tenant_id) as connection:
            row = await find_endpoint(connection, tenant_id, endpoint_id)
        return _endpoint(row, await self._vault.sealer(tenant_id))

    async def list(self, tenant_id: str, *, limit: int = 50, cursor: str | None = None) -> EndpointPage:
        """Return a page of endpoints, newest first."""
        query = select(endpoints).where(endpoints.c.tenant_id == tenant_id)
        if cursor is not None:
            query = query.where(endpoints.c.id < cursor)
        async with self._database.read(tenant_id) as connection:
            rows = (await connection.execute(query.order_by(endpoints.c.id.desc()).limit(limit + 1))).all()
        if not rows:
            return EndpointPage(items=())
        sealer = await self._vault.sealer(tenant_id)
        items = tuple(_endpoint(row, sealer) for row in rows[:limit])
        return EndpointPage(items=items, next_cursor=items[-1].id if len(rows) > limit else None)

    async def change(self, tenant_id: str, endpoint_id: str, change: EndpointChange) -> Endpoint:
        """Change an endpoint, disable it, or enable it again.

        Raises:
            EndpointNotFound
        """
        sealer = await self._vault.sealer(tenant_id)
        async with self._database.transaction(tenant_id) as connection:
            row = await find_endpoint(connection, tenant_id, endpoint_id, lock=True)
            given = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not None}
            enabled = given.pop("enabled", row.enabled)
            spec = msgspec.structs.replace(_spec(row, sealer), **given)
            written = _written(row, sealer) | msgspec.to_builtins(spec)
            values: dict[str, Any] = {"spec_sealed": sealer.seal_json(written, spec_place(endpoint_id))}
            if enabled and not row.enabled:
                values |= {"enabled": True, "disabled_reason": None, "disabled_at": None}
                values |= {"failing_since": None, "failures": 0}
            elif row.enabled and not enabled:
                values |= {"enabled": False, "disabled_reason": "disabled by its owner", "disabled_at": now()}
            await connection.execute(update(endpoints).where(*one_endpoint(tenant_id, endpoint_id)).values(values))
        return await self.get(tenant_id, endpoint_id)

    async def rotate(self, tenant_id: str, endpoint_id: str, *, overlap: str = "24h") -> EndpointSecret:
        """Make a new secret, shown this once; for as long as `overlap` the one before it signs, too.

        Raises:
            EndpointNotFound
            InvalidEndpoint: the overlap is too long.
        """
        span = timedelta(seconds=min(parse_duration(overlap), LONGEST_OVERLAP.total_seconds() + 1))
        if span > LONGEST_OVERLAP:
            raise InvalidEndpoint("/overlap", f"is longer than {LONGEST_OVERLAP.days} days")
        secret, sealer = new_secret(), await self._vault.sealer(tenant_id)
        async with self._database.transaction(tenant_id) as connection:
            row = await find_endpoint(connection, tenant_id, endpoint_id, lock=True)
            known = sealer.open_json(row.secrets_sealed, secrets_place(endpoint_id))
            kept = [secret.reveal(), known[0]]
            values = {
                "secrets_sealed": sealer.seal_json(kept, secrets_place(endpoint_id)),
                "previous_until": now() + span,
            }
            await connection.execute(update(endpoints).where(*one_endpoint(tenant_id, endpoint_id)).values(values))
        return _with_secret(await self.get(tenant_id, endpoint_id), secret)

    async def delete(self, tenant_id: str, endpoint_id: str) -> None:
        """Forget an endpoint and its deliveries.

        Raises:
            EndpointNotFound
        """
        async with self._database.transaction(tenant_id) as connection:
            gone = await connection.execute(delete(endpoints).where(*one_endpoint(tenant_id, endpoint_id)))
        if not gone.rowcount:
            raise EndpointNotFound(endpoint_id)


async def find_endpoint(
    connection: AsyncConnection, tenant_id: str, endpoint_id: str, *, lock: bool = False
) -> Row[Any]:
    """Return the row of an endpoint.

    Raises:
        EndpointNotFound
    """
    query = select(endpoints).where(*one_endpoint(tenant_id, endpoint_id))
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise EndpointNotFound(endpoint_id)
    return row


def open_endpoint(row: Row[Any], sealer: Sealer, *, at: datetime) -> OpenedEndpoint:
    """Open the row of an endpoint, with the secrets that sign at a moment."""
    spec = _spec(row, sealer)
    known = sealer.open_json(row.secrets_sealed, secrets_place(row.id))
    both = row.previous_until is not None and at < row.previous_until
    secrets = tuple(Secret(text) for text in (known if both else known[:1]))
    return OpenedEndpoint(id=row.id, url=spec.url, events=spec.events, secrets=secrets)


def one_endpoint(tenant_id: str, endpoint_id: str) -> tuple[Any, ...]:
    return endpoints.c.tenant_id == tenant_id, endpoints.c.id == endpoint_id


def _endpoint(row: Row[Any], sealer: Sealer) -> Endpoint:
    spec = _spec(row, sealer)
    disabled = None if row.enabled else Disabled(reason=row.disabled_reason, at=row.disabled_at)
    until = row.previous_until
    return Endpoint(
        id=row.id,
        url=spec.url,
        events=spec.events,
        description=spec.description,
        enabled=row.enabled,
        disabled=disabled,
        failing_since=row.failing_since,
        failures=row.failures,
        last_delivered_at=row.last_delivered_at,
        previous_secret_until=until if until is not None and until > now() else None,
        created_at=row.created_at,
    )


def _with_secret(endpoint: Endpoint, secret: Secret) -> EndpointSecret:
    return EndpointSecret(**msgspec.structs.asdict(endpoint), secret=secret.reveal())


def _spec(row: Row[Any], sealer: Sealer) -> EndpointRequest:
    """Read what is known here; a newer release, which runs beside this one for a while, may have written more."""
    written, known = _written(row, sealer), EndpointRequest.__struct_encode_fields__
    return msgspec.convert({name: written[name] for name in known if name in written}, EndpointRequest)


def _written(row: Row[Any], sealer: Sealer) -> dict[str, Any]:
    return dict(sealer.open_json(row.spec_sealed, spec_place(row.id)))
