"""Credentials as a plugin sees them: the slots it declares and the values it is lent for one call."""

import hmac
from typing import Any, Literal, NoReturn

from msgspec import Struct, field


class Secret:
    """A string that refuses to be shown: its repr is redacted, and JSON, pickle and copy refuse it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the plain value. Keep it local to the call that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Secret has no state to be read")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(other._value.encode(), self._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)


class BearerCredential(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="bearer"):
    token: Secret


class BasicCredential(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="basic"):
    username: str
    password: Secret


class ApiKeyCredential(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="apiKey"):
    #: the header or query parameter that carries the key
    name: str
    value: Secret
    location: Literal["header", "query"] = field(name="in", default="header")


class SmtpCredential(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="smtp"):
    host: str
    port: int
    username: str | None = None
    password: Secret | None = None
    security: Literal["none", "starttls", "tls"] = "starttls"


class SigningCredential(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="signing"):
    secret: Secret


class DatabaseCredential(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="database"):
    #: ``postgresql://user:password@host:port/database``
    url: Secret


Credential = (
    BearerCredential | BasicCredential | ApiKeyCredential | SmtpCredential | SigningCredential | DatabaseCredential
)


class Slot(Struct, frozen=True):
    """A place in a plugin where a workflow binds one of the tenant's credentials."""

    name: str
    #: the credential types that fit, e.g. ``("bearer", "basic")``; where ``bearer`` fits, ``oauth2`` is lent as one
    types: tuple[str, ...]
    optional: bool = False

    def takes(self, type: str) -> bool:
        """Return whether a credential of this type may be bound here."""
        return type in self.types or (type == "oauth2" and "bearer" in self.types)


def ApiKey(name: str, *, optional: bool = False) -> Slot:  # noqa: N802 - reads as a declaration
    return Slot(name, ("apiKey",), optional)


def Bearer(name: str, *, optional: bool = False) -> Slot:  # noqa: N802
    return Slot(name, ("bearer",), optional)


def Basic(name: str, *, optional: bool = False) -> Slot:  # noqa: N802
    return Slot(name, ("basic",), optional)


def Smtp(name: str, *, optional: bool = False) -> Slot:  # noqa: N802
    return Slot(name, ("smtp",), optional)


def Signing(name: str, *, optional: bool = False) -> Slot:  # noqa: N802
    return Slot(name, ("signing",), optional)


def Database(name: str, *, optional: bool = False) -> Slot:  # noqa: N802
    return Slot(name, ("database",), optional)


def decode_secret(expected: type, value: Any) -> Any:
    """Turn a decoded string into a `Secret`; a ``dec_hook`` for msgspec."""
    if expected is Secret:
        if not isinstance(value, str):
            raise ValueError("Expected `str`")
        return Secret(value)
    raise NotImplementedError(f"cannot decode {expected.__name__}")
