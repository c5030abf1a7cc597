"""Tokens of OpenID Connect issuers: who presents one, verified by the issuer's own keys."""

from collections.abc import Sequence

import jwt
from msgspec import Struct

from gateway.auth.issuers import Issuer
from gateway.auth.key_sets import KeySet
from gateway.auth.permissions import PERMISSIONS
from gateway.auth.principal import Principal
from gateway.errors import Unauthenticated
from plugins.egress.client import EgressClient
from plugins.storage.database import Database
from plugins.storage.tenants import INSTALLATION, find_tenant

#: seconds that the clocks of an issuer and ours may differ
LEEWAY = 30.0
_LONGEST = 8 * 1024
_LONGEST_SUBJECT = 255
_REQUIRED = ["exp", "iat", "sub", "aud", "iss"]

_REASONS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "it has expired"),
    (jwt.ImmatureSignatureError, "it is not valid yet"),
    (jwt.InvalidAudienceError, "it is meant for somebody else"),
    (jwt.MissingRequiredClaimError, f"it must have {', '.join(_REQUIRED)}"),
    (jwt.InvalidAlgorithmError, "it is signed by an algorithm that this issuer is not trusted with"),
)


class Verified(Struct, frozen=True, kw_only=True):
    principal: Principal
    #: when the token ends, in seconds since 1970
    expires_at: float


class Tokens:
    """Verifies tokens of the issuers that an operator trusts."""

    def __init__(self, issuers: Sequence[Issuer], database: Database, egress: EgressClient) -> None:
        self._database = database
        self._issuers = {issuer.issuer: (issuer, KeySet(issuer.issuer, issuer.jwks_uri, egress)) for issuer in issuers}

    @staticmethod
    def is_token(text: str) -> bool:
        """Whether this has the form of a token; API keys have not."""
        return text.count(".") == 2

    async def verify(self, token: str) -> Verified:
        """Return who presents a token.

        Raises:
            Unauthenticated: it proves nothing; says why, and nothing that is in it.
            IssuerUnavailable: its issuer has never said what its keys are.
        """
        if len(token) > _LONGEST:
            raise Unauthenticated(f"This token is longer than {_LONGEST} bytes.")
        try:
            # Not believed yet: says which issuer's key to verify it with.
            unverified = jwt.decode_complete(token, options={"verify_signature": False})
            header, issued_by = unverified["header"], unverified["payload"].get("iss")
        except jwt.PyJWTError:
            raise Unauthenticated("This is no token.") from None
        if not isinstance(issued_by, str) or issued_by not in self._issuers:
            raise Unauthenticated("This token's issuer is not trusted here.")
        issuer, key_set = self._issuers[issued_by]
        key_id = header.get("kid")
        key = await key_set.find(key_id if isinstance(key_id, str) else None)
        if key is None:
            raise Unauthenticated("This token is signed by a key that its issuer does not have.")
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=list(issuer.algorithms),
                audience=issuer.audience,
                issuer=issuer.issuer,
                leeway=LEEWAY,
                options={"require": _REQUIRED},
            )
        except jwt.PyJWTError as error:
            reason = next((text for kind, text in _REASONS if isinstance(error, kind)), "its signature does not fit")
            raise Unauthenticated(f"This token is not valid: {reason}.") from None
        subject, tenant_id, role = claims["sub"], issuer.tenant_of(claims), issuer.role_of(claims)
        if not subject or len(subject) > _LONGEST_SUBJECT or not subject.isprintable():
            raise Unauthenticated("This token does not say who presents it.")
        if tenant_id in (None, INSTALLATION) or await find_tenant(self._database, tenant_id) is None:
            raise Unauthenticated("This token belongs to no tenant of this installation.")
        if role is None:
            raise Unauthenticated("This token names no role.")
        return Verified(
            principal=Principal(
                id=f"{issuer.name}:{subject}", tenant_id=tenant_id, role=role, permissions=PERMISSIONS[role]
            ),
            expires_at=float(claims["exp"]),
        )
