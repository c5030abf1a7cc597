"""Errors of the gateway itself, and their tree.

GatewayError
├── SettingsError            the environment does not describe a gateway that could start
├── UndeclaredPermission     a route was registered without saying who may call it
└── Refused                  a request cannot be served as it is; knows its problem
    ├── BadRequest           400  syntax: JSON, query parameters, headers
    ├── Unauthenticated      401  no principal, or one that is not valid
    ├── Forbidden            403  the principal may not do this
    ├── Absent               404  no such object for this principal
    ├── UnsupportedMediaType 415
    ├── InvalidBody          422  the body decodes, its fields are wrong; names all of them
    ├── KeyReused            422  an idempotency key came back with another body
    ├── TooManyKeys          409  two valid API keys have this name already
    ├── KeyEnded             409  an API key that is not valid any more
    ├── KeyInFlight          409  the first request with this idempotency key has not been answered yet
    ├── IssuerUnavailable    503  tokens of this issuer cannot be verified now
    └── ProviderUnavailable  503  a provider of tokens for credentials does not answer

What the lower floors raise is mapped to problems in `gateway.problems`.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from msgspec import Struct


class GatewayError(Exception):
    """The gateway cannot do what was asked."""


class SettingsError(GatewayError):
    """The settings are incomplete or wrong; the message names every one of them."""


class UndeclaredPermission(GatewayError):
    """A route does not declare its permission."""


class BodyFault(Struct, frozen=True, omit_defaults=True):
    """One thing wrong with a request, as problems show it."""

    #: JSON Pointer (RFC 6901) into the body; for parameters and headers their name
    pointer: str
    detail: str
    #: stable, where there are programs that may act on it, e.g. ``edge.unknownTarget``
    code: str = ""


class Refused(GatewayError):
    """A request that cannot be served as it is.

    Args:
        detail: a sentence for the caller.
        errors: each single fault, where there are several.
        headers: to send with the problem.
    """

    problem: ClassVar[str]

    def __init__(
        self, detail: str, *, errors: Sequence[BodyFault] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})


class BadRequest(Refused):
    problem = "bad-request"


class Unauthenticated(Refused):
    problem = "unauthenticated"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class InvalidSignature(Refused):
    problem = "invalid-signature"


class Forbidden(Refused):
    problem = "forbidden"


class Absent(Refused):
    problem = "not-found"


class UnsupportedMediaType(Refused):
    problem = "unsupported-media-type"


class InvalidBody(Refused):
    problem = "invalid-body"


class KeyReused(Refused):
    problem = "idempotency-key-reused"


class KeyInFlight(Refused):
    problem = "idempotency-key-in-flight"


class IssuerUnavailable(Refused):
    problem = "unavailable"


class ProviderUnavailable(Refused):
    problem = "unavailable"


class TooManyKeys(Refused):
    problem = "conflict"


class KeyEnded(Refused):
    problem = "conflict"
