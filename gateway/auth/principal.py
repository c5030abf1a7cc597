"""Who is calling."""

from msgspec import Struct

from gateway.auth.permissions import Role


class Principal(Struct, frozen=True, kw_only=True):
    """An authenticated caller. Its tenant is the only tenant that a request can touch."""

    #: the key's id; ``issuer:subject`` of a token; ``admin`` for the installation's own key
    id: str
    #: the tenant it belongs to; for the administrator `gateway.installation.INSTALLATION`
    tenant_id: str
    role: Role
    permissions: frozenset[str]

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"
