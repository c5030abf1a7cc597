"""A client of an OAuth 2.0 provider, as a credential of type ``oauth2`` describes it."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from plugins.egress.url import host_of, parse_url
from plugins.sdk.conform import Flaw, token
from plugins.sdk.credential import Secret
from plugins.sdk.errors import Permanent

#: what a credential starts with, besides the description of its client
GRANTED = ("accessToken", "refreshToken", "expiresAt")

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
#: RFC 6749 §3.3
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")

Url = Annotated[str, Meta(max_length=2048, description="Begins with https://")]


class OAuth2Client(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, tag="oauth2"):
    """Who we are at a provider, and what we ask it for (RFC 6749)."""

    grant_type: Literal["authorization_code", "client_credentials"]
    token_url: Url
    #: where a person authorizes us; with `authorization_code`
    authorization_url: Url | None = None
    client_id: str
    client_secret: Secret
    #: how the client says who it is: by HTTP's Basic scheme, or in the body (§2.3.1)
    client_authentication: Literal["basic", "body"] = "basic"
    scopes: tuple[str, ...] = ()
    audience: str | None = None
    #: tokens that were granted elsewhere
    access_token: Secret | None = None
    refresh_token: Secret | None = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None

    @property
    def needs_a_person(self) -> bool:
        return self.grant_type == "authorization_code"


def check_oauth2(client: OAuth2Client) -> Iterator[Flaw]:
    """Find what is wrong with a client beyond its form; pointers are into the credential's data."""
    yield from _url("/tokenUrl", client.token_url)
    if client.authorization_url is not None:
        yield from _url("/authorizationUrl", client.authorization_url)
    is_granted = client.access_token is not None or client.refresh_token is not None
    if client.needs_a_person and client.authorization_url is None and not is_granted:
        yield Flaw("/authorizationUrl", "is required: without tokens, a person has to authorize this credential")
    if not client.needs_a_person and client.refresh_token is not None:
        yield Flaw("/refreshToken", "belongs to authorization_code: client_credentials asks for a new token instead")
    if client.expires_at is not None and client.access_token is None:
        yield Flaw("/expiresAt", "is that of an accessToken, and there is none")
    for index, scope in enumerate(client.scopes):
        if not _SCOPE.fullmatch(scope):
            yield Flaw("/scopes" + token(index), "must be one scope: visible characters, without spaces and quotes")


def _url(pointer: str, text: str) -> Iterator[Flaw]:
    try:
        url = parse_url(text)
    except Permanent as error:
        yield Flaw(pointer, error.message.removeprefix("this URL cannot be used: "))
        return
    if url.scheme != "https" and host_of(url) not in _LOOPBACK:
        yield Flaw(pointer, "must begin with https://: secrets travel there")


def without_granted(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of a credential without the tokens that it starts with, which change while it lives."""
    return {name: value for name, value in data.items() if name not in GRANTED}
