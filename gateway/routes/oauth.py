"""``/v1/oauth/callback``: where providers send the people back who have authorized a credential, or have not."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.status_codes import HTTP_200_OK
from msgspec import Struct

from gateway.answers import HARMLESS
from gateway.audit.acting import on_the_trail
from gateway.audit.trail import Trail
from gateway.auth.permissions import PUBLIC, Role, requires
from gateway.auth.principal import Principal
from gateway.errors import Absent, BadRequest, ProviderUnavailable
from gateway.settings import OAUTH_CALLBACK
from gateway.telemetry.trace import trace_of
from plugins.sdk.errors import Permanent, Transient
from plugins.vault.errors import AuthorizationFailed, UnknownAuthorization
from plugins.vault.oauth.authorizations import Authorizations, Return

GivenState = Annotated[
    str, QueryParameter(name="state", max_length=200, description="as `authorize` gave it; good once")
]
Code = Annotated[str | None, QueryParameter(name="code", max_length=4096, description="that the person agreed")]
Error = Annotated[str | None, QueryParameter(name="error", max_length=200, description="that they did not")]

#: the address of this page is a secret for as long as the code in it is good
_HEADERS = HARMLESS | {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


class Authorized(Struct, frozen=True, kw_only=True, rename="camel"):
    credential_id: str
    status: str = "ok"


@get(OAUTH_CALLBACK, opt=requires(PUBLIC))
async def finish_authorization(
    *,
    request: Request[Any, Any, Any],
    authorizations: NamedDependency[Authorizations],
    trail: NamedDependency[Trail],
    given_state: GivenState,
    code: Code = None,
    error: Error = None,
) -> Response[Authorized]:
    """Finish the authorization of a credential, once. The state says whose it is; what is answered is data."""
    try:
        taken = await authorizations.take(given_state)
    except UnknownAuthorization:
        raise _unknown() from None
    # Nobody presents a key here: on the trail it is done by whoever sent the person on their way.
    acting = on_the_trail(
        trail,
        _principal(taken),
        action=finish_authorization.handler_name,
        path=request.scope["path"],
        object_id=taken.credential_id,
        trace_id=trace_of(request.scope).trace_id,
    )
    async with acting as answered:
        await _finish(authorizations, taken, code, error)
        answered.status = HTTP_200_OK
    return Response(Authorized(credential_id=taken.credential_id), headers=_HEADERS)


async def _finish(authorizations: Authorizations, taken: Return, code: str | None, error: str | None) -> None:
    try:
        await authorizations.finish(taken, code=code, error=error)
    except UnknownAuthorization:
        raise _unknown() from None
    except AuthorizationFailed as failure:
        raise BadRequest(f"The provider did not authorize the credential: {failure.reason}.") from None
    except Transient as failure:
        raise ProviderUnavailable(f"Begin the authorization again: {failure.message}.") from None
    except Permanent as failure:
        raise BadRequest(f"The provider's answer cannot be used: {failure.message}.") from None


def _unknown() -> Absent:
    return Absent("Nobody began this authorization, or it is over; begin it again.")


def _principal(taken: Return) -> Principal:
    role = msgspec.convert(taken.by.role, Role)
    return Principal(id=taken.by.id, tenant_id=taken.tenant_id, role=role, permissions=frozenset())


ROUTES = [finish_authorization]
