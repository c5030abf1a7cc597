"""Issuers of OpenID Connect tokens that an operator trusts, and what a token of theirs stands for."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from gateway.auth.permissions import TenantRole

#: asymmetric only: with a shared secret, whoever can verify a token can make one
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]  # fmt: skip

#: who may do more comes first: of several roles that a token names, the first one counts
_RANKS: tuple[TenantRole, ...] = ("owner", "editor", "runner", "service", "viewer")

Text = Annotated[str, Meta(min_length=1)]


class Issuer(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One entry of ``GATEWAY_OIDC_ISSUERS``."""

    #: short, for people: the principal ``alice`` of the issuer ``corp`` is ``corp:alice``
    name: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,20}$")]
    #: equals ``iss``
    issuer: Annotated[str, Meta(pattern="^https?://")]
    #: one of ``aud``
    audience: Text
    #: where its keys are; by default where its discovery document says
    jwks_uri: Annotated[str, Meta(pattern="^https?://")] | None = None
    algorithms: Annotated[tuple[Algorithm, ...], Meta(min_length=1)] = ("RS256",)
    #: the one tenant that all of its tokens belong to
    tenant: Text | None = None
    #: the claim that names the tenant, instead
    tenant_claim: Text | None = None
    #: value of that claim → id of a tenant; empty: the claim is the id
    tenants: dict[str, str] = {}
    #: the claim that names the role, or roles
    role_claim: Text | None = None
    #: value of that claim → role; empty: the claim is the role
    roles: dict[str, TenantRole] = {}
    #: of a token without any of these roles; ``None``: such a token is refused
    role: TenantRole | None = None

    def tenant_of(self, claims: dict[str, Any]) -> str | None:
        """Return the id of the tenant that a verified token belongs to; ``None``: it names none."""
        if self.tenant is not None:
            return self.tenant
        value = _claim(claims, self.tenant_claim)
        if not isinstance(value, str):
            return None
        return self.tenants.get(value) if self.tenants else value

    def role_of(self, claims: dict[str, Any]) -> TenantRole | None:
        """Return what a verified token may do; ``None``: nothing."""
        value = _claim(claims, self.role_claim)
        named = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        roles = {self.roles.get(each) if self.roles else each for each in named if isinstance(each, str)}
        return next((role for role in _RANKS if role in roles), self.role)


def parse_issuers(text: str) -> tuple[Issuer, ...]:
    """Read ``GATEWAY_OIDC_ISSUERS``: a JSON array of issuers.

    Raises:
        ValueError: saying what is wrong.
    """
    try:
        issuers = msgspec.json.decode(text, type=tuple[Issuer, ...])
    except msgspec.DecodeError as error:
        raise ValueError(f"write a JSON array of issuers: {error}") from None
    for issuer in issuers:
        if (issuer.tenant is None) == (issuer.tenant_claim is None):
            raise ValueError(f'{issuer.name}: say either "tenant" or "tenantClaim"')
        if issuer.tenants and issuer.tenant_claim is None:
            raise ValueError(f'{issuer.name}: "tenants" needs "tenantClaim"')
        if issuer.role_claim is None and issuer.role is None:
            raise ValueError(f'{issuer.name}: say "role", or "roleClaim", or both')
        if issuer.roles and issuer.role_claim is None:
            raise ValueError(f'{issuer.name}: "roles" needs "roleClaim"')
    for what, values in (("name", [i.name for i in issuers]), ("issuer", [i.issuer for i in issuers])):
        if len(set(values)) < len(values):
            raise ValueError(f"two issuers have the same {what}")
    return issuers


def _claim(claims: dict[str, Any], name: str | None) -> Any:
    """Return a claim by its name, or by its path: ``realm_access.roles``. Names may hold dots, too."""
    if name is None or name in claims:
        return claims.get(name) if name is not None else None
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
