"""The table of credentials, and the places that what is sealed in it is bound to."""

from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    ForeignKey,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Row,
    String,
    Table,
    bindparam,
    select,
)

from plugins.storage.database import Database, Instant, metadata
from plugins.storage.tenants import tenants
from plugins.vault.errors import CredentialNotFound
from plugins.vault.renewal import sealed_as

credentials = Table(
    "credentials",
    metadata,
    Column("tenant_id", String(40), ForeignKey(tenants.c.id), nullable=False),
    Column("id", String(40), nullable=False),
    Column("type", String(32), nullable=False),
    #: name, allowed hosts, allowed plugins
    Column("details_sealed", LargeBinary, nullable=False, info=sealed_as(lambda row: details_place(row.id))),
    Column("data_sealed", LargeBinary, nullable=False, info=sealed_as(lambda row: data_place(row.id))),
    #: ``ok``, ``needsAuthorization`` or ``needsReauth``
    Column("status", String(32), nullable=False, server_default="ok"),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("rotated_at", Instant, nullable=True),
    Column("last_used_at", Instant, nullable=True),
    # Of OAuth 2.0 alone: the tokens that its provider has granted, and a number that rises with each change of them.
    Column("grant_sealed", LargeBinary, nullable=True, info=sealed_as(lambda row: grant_place(row.id))),
    Column("grant_version", Integer, nullable=False, server_default="0"),
    # Who is renewing them, and until when nobody else may.
    Column("renewing_by", String(40), nullable=True),
    Column("renewing_until", Instant, nullable=True),
    # An authorization that was begun: what its answer must bring, and what it is then finished with.
    Column("state_sha256", LargeBinary(32), nullable=True),
    Column("state_sealed", LargeBinary, nullable=True, info=sealed_as(lambda row: state_place(row.id))),
    PrimaryKeyConstraint("tenant_id", "id"),
)

# Built once: every call that binds a credential asks.
_BY_ID = select(credentials).where(
    credentials.c.tenant_id == bindparam("tenant_id"), credentials.c.id == bindparam("id")
)


async def find_credential(database: Database, tenant_id: str, credential_id: str) -> Row[Any]:
    """Return the row of a credential.

    Raises:
        CredentialNotFound
    """
    async with database.read(tenant_id) as connection:
        found = await connection.execute(_BY_ID, {"tenant_id": tenant_id, "id": credential_id})
        row = found.one_or_none()
    if row is None:
        raise CredentialNotFound(credential_id)
    return row


def is_credential(tenant_id: str, credential_id: str) -> tuple[ColumnElement[bool], ...]:
    return credentials.c.tenant_id == tenant_id, credentials.c.id == credential_id


def data_place(credential_id: str) -> str:
    return f"credential.data:{credential_id}"


def details_place(credential_id: str) -> str:
    return f"credential.details:{credential_id}"


def grant_place(credential_id: str) -> str:
    return f"credential.grant:{credential_id}"


def state_place(credential_id: str) -> str:
    return f"credential.state:{credential_id}"
