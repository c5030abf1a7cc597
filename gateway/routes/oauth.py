"""``/v1/oauth/callback``: where providers send the people back who have authorized a credential, or have not."""

from typing import Annotated

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Struct

from gateway.answers import HARMLESS
from gateway.auth.permissions import PUBLIC, requires
from gateway.errors import Absent, BadRequest, ProviderUnavailable
from gateway.settings import OAUTH_CALLBACK
from plugins.sdk.errors import Permanent, Transient
from plugins.vault.errors import AuthorizationFailed, UnknownAuthorization
from plugins.vault.oauth.authorizations import Authorizations

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
    authorizations: NamedDependency[Authorizations], given_state: GivenState, code: Code = None, error: Error = None
) -> Response[Authorized]:
    """Finish the authorization of a credential, once. The state says whose it is; what is answered is data."""
    try:
        _, credential_id = await authorizations.finish(given_state, code=code, error=error)
    except UnknownAuthorization:
        raise Absent("Nobody began this authorization, or it is over; begin it again.") from None
    except AuthorizationFailed as failure:
        raise BadRequest(f"The provider did not authorize the credential: {failure.reason}.") from None
    except Transient as failure:
        raise ProviderUnavailable(f"Begin the authorization again: {failure.message}.") from None
    except Permanent as failure:
        raise BadRequest(f"The provider's answer cannot be used: {failure.message}.") from None
    return Response(Authorized(credential_id=credential_id), headers=_HEADERS)


ROUTES = [finish_authorization]
