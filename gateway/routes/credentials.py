"""``/v1/credentials``: the tenant's secrets. Their data goes in and never comes out."""

from typing import Any

from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_204_NO_CONTENT
from msgspec import Struct

from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.routes.pages import Cursor, Limit, Page, position
from plugins.vault.credentials import CredentialRecord, Credentials
from plugins.vault.forms import TYPES, data_schema
from plugins.vault.oauth.authorizations import Authorization, Authorizations, Initiator


class NewCredential(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    type: str
    name: str
    #: by type, e.g. ``{"token": …}`` for ``bearer``
    data: dict[str, Any]
    #: ``host[:port]``; empty: any
    allowed_hosts: tuple[str, ...] = ()
    #: plugin ids; empty: any
    allowed_plugins: tuple[str, ...] = ()


class CredentialChange(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What is absent stays as it is."""

    name: str | None = None
    allowed_hosts: tuple[str, ...] | None = None
    allowed_plugins: tuple[str, ...] | None = None


class NewData(Struct, frozen=True, forbid_unknown_fields=True):
    data: dict[str, Any]


class CredentialType(Struct, frozen=True, kw_only=True, rename="camel"):
    type: str
    #: JSON Schema (2020-12) of ``data``
    data_schema: dict[str, Any]
    #: the type of slots that it fits, where it is not its own
    lent_as: str | None


class CredentialTypes(Struct, frozen=True, kw_only=True):
    items: tuple[CredentialType, ...]


_TYPES = tuple(
    CredentialType(type=type, data_schema=data_schema(type), lent_as="bearer" if type == "oauth2" else None)
    for type in TYPES
)


@post("/v1/credentials", opt=requires("credentials.write"))
async def make_credential(
    data: JSONBody[NewCredential], principal: NamedDependency[Principal], credentials: NamedDependency[Credentials]
) -> Response[CredentialRecord]:
    """Store a credential, sealed."""
    record = await credentials.create(
        principal.tenant_id,
        type=data.type,
        name=data.name,
        data=data.data,
        allowed_hosts=data.allowed_hosts,
        allowed_plugins=data.allowed_plugins,
    )
    return Response(record, headers={"Location": f"/v1/credentials/{record.id}"})


@get("/v1/credentials", opt=requires("credentials.read"))
async def list_credentials(
    principal: NamedDependency[Principal],
    credentials: NamedDependency[Credentials],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[CredentialRecord]:
    """List the credentials, newest first, without their data."""
    page = await credentials.list(principal.tenant_id, limit=limit, cursor=position(cursor))
    return Page(items=page.items, next_cursor=page.next_cursor)


@get("/v1/credentials/{credential_id:str}", opt=requires("credentials.read"))
async def show_credential(
    credential_id: FromPath[str], principal: NamedDependency[Principal], credentials: NamedDependency[Credentials]
) -> CredentialRecord:
    """Show a credential, without its data."""
    return await credentials.get(principal.tenant_id, credential_id)


@patch("/v1/credentials/{credential_id:str}", opt=requires("credentials.write"))
async def change_credential(
    credential_id: FromPath[str],
    data: JSONBody[CredentialChange],
    principal: NamedDependency[Principal],
    credentials: NamedDependency[Credentials],
) -> CredentialRecord:
    """Change a credential's name and where it may go."""
    return await credentials.update(
        principal.tenant_id,
        credential_id,
        name=data.name,
        allowed_hosts=data.allowed_hosts,
        allowed_plugins=data.allowed_plugins,
    )


@post("/v1/credentials/{credential_id:str}/rotate", opt=requires("credentials.write"), status_code=HTTP_200_OK)
async def rotate_credential(
    credential_id: FromPath[str],
    data: JSONBody[NewData],
    principal: NamedDependency[Principal],
    credentials: NamedDependency[Credentials],
) -> CredentialRecord:
    """Replace a credential's data; what is bound to it uses the new data from now on."""
    return await credentials.rotate(principal.tenant_id, credential_id, data=data.data)


@delete("/v1/credentials/{credential_id:str}", opt=requires("credentials.write"), status_code=HTTP_204_NO_CONTENT)
async def delete_credential(
    credential_id: FromPath[str], principal: NamedDependency[Principal], credentials: NamedDependency[Credentials]
) -> None:
    """Forget a credential."""
    await credentials.delete(principal.tenant_id, credential_id)


@post("/v1/credentials/{credential_id:str}/authorize", opt=requires("credentials.write"), status_code=HTTP_200_OK)
async def authorize_credential(
    credential_id: FromPath[str],
    principal: NamedDependency[Principal],
    authorizations: NamedDependency[Authorizations],
) -> Authorization:
    """Begin the authorization of an `oauth2` credential by a person: they open `url`, within ten minutes, once."""
    by = Initiator(principal.id, principal.role)
    return await authorizations.begin(principal.tenant_id, credential_id, by)


@get("/v1/credential-types", opt=requires("credentials.read"))
async def list_credential_types() -> CredentialTypes:
    """List the types of credentials, with the JSON Schemas of their data."""
    return CredentialTypes(items=_TYPES)


ROUTES = [
    list_credential_types,
    make_credential,
    list_credentials,
    show_credential,
    change_credential,
    rotate_credential,
    authorize_credential,
    delete_credential,
]
