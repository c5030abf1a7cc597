"""``/v1/me``: who the caller is."""

from litestar import get
from litestar.di import NamedDependency
from msgspec import Struct

from gateway.auth.permissions import Role, requires
from gateway.auth.principal import Principal


class Me(Struct, frozen=True, kw_only=True, rename="camel"):
    key_id: str
    #: null for the administrator
    tenant_id: str | None
    role: Role
    permissions: list[str]


@get("/v1/me", opt=requires("me.read"))
async def show_me(principal: NamedDependency[Principal]) -> Me:
    """Say who presents this key, and what it may do."""
    return Me(
        key_id=principal.id,
        tenant_id=None if principal.is_admin else principal.tenant_id,
        role=principal.role,
        permissions=sorted(principal.permissions),
    )


ROUTES = [show_me]
