"""``/v1/tenants/{id}/keys``: the data keys that seal what a tenant has."""

from typing import Any

from litestar import delete, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Struct

from gateway.auth.permissions import requires
from gateway.auth.principal import Principal
from gateway.compose import Platform
from gateway.errors import Absent
from gateway.renewal import ask_for_renewal
from plugins.storage.tenants import find_tenant
from plugins.vault.keys import DataKey


class DataKeys(Struct, frozen=True):
    #: the newest first
    items: tuple[DataKey, ...]


@get("/v1/tenants/{tenant_id:str}/keys", opt=requires("vault.read"))
async def list_tenant_keys(tenant_id: FromPath[str], principal: NamedDependency[Principal], state: State) -> DataKeys:
    """List a tenant's data keys, the newest first: versions and times, nothing of the keys themselves."""
    platform = await _of(tenant_id, principal, state)
    return DataKeys(tuple(await platform.vault.keys(tenant_id)))


@post("/v1/tenants/{tenant_id:str}/keys/rotate", opt=requires("vault.rotate"))
async def rotate_tenant_key(tenant_id: FromPath[str], principal: NamedDependency[Principal], state: State) -> DataKey:
    """Make a tenant a new data key. It seals from `sealsFrom` on, in every process; the older ones go on opening.

    Afterwards a chore seals again what lives long: credentials, workflows, schedules, endpoints.
    """
    platform = await _of(tenant_id, principal, state)
    key = await platform.vault.rotate(tenant_id)
    await ask_for_renewal(platform, tenant_id, key)
    return key


@delete("/v1/tenants/{tenant_id:str}/keys/{version:int}", opt=requires("vault.rotate"))
async def destroy_tenant_key(
    tenant_id: FromPath[str], version: FromPath[int], principal: NamedDependency[Principal], state: State
) -> None:
    """Destroy a retired data key that nothing needs any more; otherwise a conflict that says what does."""
    platform = await _of(tenant_id, principal, state)
    await platform.renewal.destroy(tenant_id, version)


async def _of(tenant_id: str, principal: Principal, state: State) -> Platform:
    platform: Any = state.platform
    mine = principal.is_admin or principal.tenant_id == tenant_id
    if not mine or await find_tenant(platform.database, tenant_id) is None:
        raise Absent(f"There is no tenant {tenant_id}.")
    found: Platform = platform
    return found


ROUTES = [list_tenant_keys, rotate_tenant_key, destroy_tenant_key]
