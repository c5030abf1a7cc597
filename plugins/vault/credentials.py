"""The tenants' credentials: stored sealed, never returned; `lending` lends them to one plugin call at a time."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct, structs
from sqlalchemy import delete, select, update
from sqlalchemy.engine import Row

from plugins.sdk.conform import Flaw
from plugins.storage.database import Database, now
from plugins.storage.ids import new_id
from plugins.vault.cipher import Sealer
from plugins.vault.errors import CredentialNotFound, InvalidCredential
from plugins.vault.forms import data_faults, decode_data, detail_faults, faults_of
from plugins.vault.keys import Vault
from plugins.vault.oauth.client import OAuth2Client, without_granted
from plugins.vault.oauth.grant import first_grant, first_status, open_grant, seal_grant
from plugins.vault.table import credentials, data_place, details_place, find_credential, is_credential

#: needsAuthorization  no person has authorized it yet
#: needsReauth         its provider grants no more: it must be authorized again, or rotated
CredentialStatus = Literal["ok", "needsAuthorization", "needsReauth"]


class CredentialRecord(Struct, frozen=True, kw_only=True, rename="camel"):
    """What may be told about a credential: everything but its data."""

    id: str
    type: str
    name: str
    #: ``host[:port]``; empty: any host
    allowed_hosts: tuple[str, ...]
    #: plugin ids; empty: any plugin
    allowed_plugins: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    #: when its data was last replaced
    rotated_at: datetime | None
    status: CredentialStatus = "ok"
    #: why it is not ok, in the provider's own word
    status_reason: str | None = None
    #: to the minute
    last_used_at: datetime | None = None


class CredentialPage(Struct, frozen=True, kw_only=True, rename="camel"):
    items: tuple[CredentialRecord, ...]
    #: give it as `cursor` for the next page; ``None`` at the end
    next_cursor: str | None


class Credentials:
    """The store of credentials. Every method takes the tenant from the principal.

    Args:
        database: holds them.
        vault: holds their keys.
    """

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def create(
        self,
        tenant_id: str,
        *,
        type: str,
        name: str,
        data: dict[str, Any],
        allowed_hosts: Sequence[str] = (),
        allowed_plugins: Sequence[str] = (),
    ) -> CredentialRecord:
        """Store a credential.

        Raises:
            InvalidCredential: with every fault; pointers are into ``{type, name, data, allowedHosts, allowedPlugins}``.
        """
        faults = faults_of(
            type=type, name=name, data=data, allowed_hosts=allowed_hosts, allowed_plugins=allowed_plugins
        )
        _refuse(tuple(faults))
        sealer = await self._vault.sealer(tenant_id)
        moment = now()
        record = CredentialRecord(
            id=new_id("cred"),
            type=type,
            name=name.strip(),
            allowed_hosts=_hosts(allowed_hosts),
            allowed_plugins=tuple(allowed_plugins),
            created_at=moment,
            updated_at=moment,
            rotated_at=None,
        )
        stored = _stored(sealer, record, data)
        row = {
            "tenant_id": tenant_id,
            "id": record.id,
            "type": type,
            "details_sealed": _seal_details(sealer, record),
            "created_at": moment,
            "updated_at": moment,
        }
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(credentials.insert().values(row | stored))
        return structs.replace(record, status=stored["status"])

    async def list(self, tenant_id: str, *, limit: int = 100, cursor: str | None = None) -> CredentialPage:
        """Return the tenant's credentials, the newest first."""
        query = select(credentials).where(credentials.c.tenant_id == tenant_id).order_by(credentials.c.id.desc())
        if cursor is not None:
            query = query.where(credentials.c.id < cursor)
        async with self._database.read(tenant_id) as connection:
            rows = (await connection.execute(query.limit(limit + 1))).all()
        if not rows:
            return CredentialPage(items=(), next_cursor=None)
        sealer = await self._vault.sealer(tenant_id)
        items = tuple(open_record(sealer, row) for row in rows[:limit])
        return CredentialPage(items=items, next_cursor=items[-1].id if len(rows) > limit else None)

    async def get(self, tenant_id: str, credential_id: str) -> CredentialRecord:
        """Return what may be told about a credential.

        Raises:
            CredentialNotFound: the tenant has none with this id.
        """
        row = await find_credential(self._database, tenant_id, credential_id)
        return open_record(await self._vault.sealer(tenant_id), row)

    async def find(self, tenant_id: str, ids: Collection[str]) -> dict[str, CredentialRecord]:
        """Return what may be told about those of the credentials that there are, by id."""
        mine = select(credentials).where(credentials.c.tenant_id == tenant_id, credentials.c.id.in_(ids))
        async with self._database.read(tenant_id) as connection:
            rows = (await connection.execute(mine)).all()
        sealer = await self._vault.sealer(tenant_id)
        return {row.id: open_record(sealer, row) for row in rows}

    async def update(
        self,
        tenant_id: str,
        credential_id: str,
        *,
        name: str | None = None,
        allowed_hosts: Sequence[str] | None = None,
        allowed_plugins: Sequence[str] | None = None,
    ) -> CredentialRecord:
        """Change what is given; its data is changed by `rotate` alone.

        Raises:
            CredentialNotFound, InvalidCredential
        """
        record = await self.get(tenant_id, credential_id)
        changed = structs.replace(
            record,
            name=record.name if name is None else name,
            allowed_hosts=record.allowed_hosts if allowed_hosts is None else tuple(allowed_hosts),
            allowed_plugins=record.allowed_plugins if allowed_plugins is None else tuple(allowed_plugins),
            updated_at=now(),
        )
        faults = detail_faults(
            name=changed.name, allowed_hosts=changed.allowed_hosts, allowed_plugins=changed.allowed_plugins
        )
        _refuse(tuple(faults))
        changed = structs.replace(changed, name=changed.name.strip(), allowed_hosts=_hosts(changed.allowed_hosts))
        sealer = await self._vault.sealer(tenant_id)
        await self._change(
            tenant_id,
            credential_id,
            details_sealed=_seal_details(sealer, changed),
            updated_at=changed.updated_at,
        )
        return changed

    async def rotate(self, tenant_id: str, credential_id: str, *, data: dict[str, Any]) -> CredentialRecord:
        """Replace the data of a credential; its id, name and limits stay, and the next call uses the new data.

        Raises:
            CredentialNotFound, InvalidCredential
        """
        record = await self.get(tenant_id, credential_id)
        _refuse(tuple(data_faults(record.type, data)))
        sealer = await self._vault.sealer(tenant_id)
        moment = now()
        stored = _stored(sealer, record, data)
        # Renewals and authorizations that are at work belong to the data before.
        void = {
            "grant_version": credentials.c.grant_version + 1,
            "renewing_by": None,
            "renewing_until": None,
            "state_sha256": None,
            "state_sealed": None,
        }
        await self._change(tenant_id, credential_id, updated_at=moment, rotated_at=moment, **stored, **void)
        return structs.replace(
            record, updated_at=moment, rotated_at=moment, status=stored["status"], status_reason=None
        )

    async def delete(self, tenant_id: str, credential_id: str) -> None:
        """Forget a credential.

        Raises:
            CredentialNotFound: the tenant has none with this id.
        """
        async with self._database.transaction(tenant_id) as connection:
            done = await connection.execute(delete(credentials).where(*is_credential(tenant_id, credential_id)))
        if done.rowcount == 0:
            raise CredentialNotFound(credential_id)

    async def _change(self, tenant_id: str, credential_id: str, **values: Any) -> None:
        change = update(credentials).where(*is_credential(tenant_id, credential_id)).values(values)
        async with self._database.transaction(tenant_id) as connection:
            done = await connection.execute(change)
        if done.rowcount == 0:
            raise CredentialNotFound(credential_id)


def open_record(sealer: Sealer, row: Row[Any]) -> CredentialRecord:
    """Return what may be told about the credential of a row.

    Raises:
        VaultError: it cannot be read.
    """
    details = sealer.open_json(row.details_sealed, details_place(row.id))
    return CredentialRecord(
        id=row.id,
        type=row.type,
        name=details["name"],
        allowed_hosts=tuple(details["allowedHosts"]),
        allowed_plugins=tuple(details["allowedPlugins"]),
        created_at=row.created_at,
        updated_at=row.updated_at,
        rotated_at=row.rotated_at,
        status=row.status,
        status_reason=open_grant(sealer, row).refused if row.status == "needsReauth" else None,
        last_used_at=row.last_used_at,
    )


def _refuse(faults: tuple[Flaw, ...]) -> None:
    if faults:
        raise InvalidCredential(faults)


def _hosts(hosts: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(host.lower() for host in hosts))


def _stored(sealer: Sealer, record: CredentialRecord, data: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that hold the data of a credential; tokens of OAuth 2.0 apart, for they change."""
    if record.type != "oauth2":
        return {"data_sealed": sealer.seal_json(data, data_place(record.id)), "status": "ok"}
    client: OAuth2Client = decode_data(record.type, data)
    return {
        "data_sealed": sealer.seal_json(without_granted(data), data_place(record.id)),
        "grant_sealed": seal_grant(sealer, record.id, first_grant(client)),
        "status": first_status(client),
    }


def _seal_details(sealer: Sealer, record: CredentialRecord) -> bytes:
    details = {
        "name": record.name,
        "allowedHosts": record.allowed_hosts,
        "allowedPlugins": record.allowed_plugins,
    }
    return sealer.seal_json(details, details_place(record.id))
