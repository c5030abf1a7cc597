"""What a credential must look like before it is stored, every fault at once."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from plugins.sdk.conform import Flaw, Nonconforming, conform, token
from plugins.sdk.credential import (
    ApiKeyCredential,
    BasicCredential,
    BearerCredential,
    DatabaseCredential,
    Secret,
    SigningCredential,
    SmtpCredential,
)
from plugins.vault.oauth.client import OAuth2Client, check_oauth2

#: type → the form of its data
FORMS: dict[str, type[Struct]] = {
    "bearer": BearerCredential,
    "basic": BasicCredential,
    "apiKey": ApiKeyCredential,
    "smtp": SmtpCredential,
    "signing": SigningCredential,
    "oauth2": OAuth2Client,
    "database": DatabaseCredential,
}
TYPES = tuple(FORMS)

MAX_DATA = 64 * 1024
MAX_NAME = 200
MAX_ENTRIES = 100

_PRINTABLE = re.compile(r"[\x20-\x7e\x80-\U0010ffff]+")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: a name, an IPv4 address or a bracketed IPv6 address, then perhaps a port
_HOST = re.compile(
    r"(?P<host>[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\])(:(?P<port>\d{1,5}))?"
)
_PLUGIN = re.compile(r"[a-z][a-zA-Z0-9]*(\.[a-z][a-zA-Z0-9]*)*")


def decode_data(type: str, data: Any) -> Any:
    """Return `data` in the form that its `type` has: a `Credential`, or an `OAuth2Client`.

    Raises:
        Nonconforming: with every flaw, none of which repeats a value. Pointers are into `data`.
    """
    credential = conform(FORMS[type], data)
    flaws = tuple(_CHECKS[type](credential))
    if not flaws and len(msgspec.json.encode(data)) > MAX_DATA:
        flaws = (Flaw("", f"is over {MAX_DATA // 1024} KiB"),)
    if flaws:
        raise Nonconforming(flaws)
    return credential


def data_schema(type: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the data of this type; a secret is a string that is written only."""
    schema: dict[str, Any] = msgspec.json.schema(FORMS[type], schema_hook=_secret_schema)
    form: dict[str, Any]
    (form,) = schema["$defs"].values()
    # The type is said beside the data, not in it.
    form["properties"].pop("type")
    form["required"].remove("type")
    return form


def _secret_schema(expected: type) -> dict[str, Any]:
    if expected is Secret:
        return {"type": "string", "format": "password", "writeOnly": True}
    raise NotImplementedError(f"no schema of {expected.__name__}")


def faults_of(
    *, type: str, name: Any, data: Any, allowed_hosts: Sequence[Any], allowed_plugins: Sequence[Any]
) -> Iterator[Flaw]:
    """Find everything wrong with a credential as it was asked for; pointers are into the request's body."""
    if type in FORMS:
        yield from data_faults(type, data)
    else:
        yield Flaw("/type", f"must be one of {', '.join(repr(known) for known in TYPES)}")
    yield from detail_faults(name=name, allowed_hosts=allowed_hosts, allowed_plugins=allowed_plugins)


def data_faults(type: str, data: Any) -> Iterator[Flaw]:
    try:
        decode_data(type, data)
    except Nonconforming as error:
        yield from (Flaw("/data" + flaw.pointer, flaw.detail) for flaw in error.flaws)


def detail_faults(*, name: Any, allowed_hosts: Sequence[Any], allowed_plugins: Sequence[Any]) -> Iterator[Flaw]:
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME:
        yield Flaw("/name", f"must be a text of 1 to {MAX_NAME} characters")
    yield from _entries("/allowedHosts", allowed_hosts, is_host, "must be a host or host:port")
    yield from _entries("/allowedPlugins", allowed_plugins, _is_plugin, "must be a plugin id, like http.request")


def is_host(text: str) -> bool:
    """Whether `text` is a host or host:port."""
    match = _HOST.fullmatch(text)
    return match is not None and (match["port"] is None or 0 < int(match["port"]) < 65536)


def _is_plugin(text: str) -> bool:
    return _PLUGIN.fullmatch(text) is not None


def _entries(pointer: str, entries: Sequence[Any], fits: Callable[[str], bool], rule: str) -> Iterator[Flaw]:
    if len(entries) > MAX_ENTRIES:
        yield Flaw(pointer, f"must have at most {MAX_ENTRIES} entries")
        return
    for index, entry in enumerate(entries):
        if not isinstance(entry, str) or not fits(entry):
            yield Flaw(pointer + token(index), rule)


def _one_line(pointer: str, value: str, *, may_be_empty: bool = False) -> Iterator[Flaw]:
    # Control characters would end a header or an SMTP command and begin another.
    if not (_PRINTABLE.fullmatch(value) or (may_be_empty and not value)):
        yield Flaw(pointer, "must not be empty and must have no line breaks or other control characters")


def _check_bearer(credential: BearerCredential) -> Iterator[Flaw]:
    yield from _one_line("/token", credential.token.reveal())


def _check_basic(credential: BasicCredential) -> Iterator[Flaw]:
    yield from _one_line("/username", credential.username)
    if ":" in credential.username:
        yield Flaw("/username", "must have no colon (RFC 7617)")
    yield from _one_line("/password", credential.password.reveal(), may_be_empty=True)


def _check_api_key(credential: ApiKeyCredential) -> Iterator[Flaw]:
    if not _HEADER_NAME.fullmatch(credential.name):
        yield Flaw("/name", "must be the name of a header or query parameter: letters, digits and -_.~")
    yield from _one_line("/value", credential.value.reveal())


def _check_smtp(credential: SmtpCredential) -> Iterator[Flaw]:
    if ":" in credential.host or not is_host(credential.host):
        yield Flaw("/host", "must be the name or IPv4 address of the mail server, without port")
    if not 0 < credential.port < 65536:
        yield Flaw("/port", "must be a port from 1 to 65535")
    if (credential.username is None) != (credential.password is None):
        missing = "username" if credential.username is None else "password"
        yield Flaw(token(missing), "is required: give both username and password, or neither")
    if credential.username is not None:
        yield from _one_line("/username", credential.username)
    if credential.password is not None:
        yield from _one_line("/password", credential.password.reveal())


def _check_signing(credential: SigningCredential) -> Iterator[Flaw]:
    yield from _one_line("/secret", credential.secret.reveal())


def _check_oauth2(client: OAuth2Client) -> Iterator[Flaw]:
    yield from _one_line("/clientId", client.client_id)
    yield from _one_line("/clientSecret", client.client_secret.reveal())
    if client.audience is not None:
        yield from _one_line("/audience", client.audience)
    if client.access_token is not None:
        yield from _one_line("/accessToken", client.access_token.reveal())
    if client.refresh_token is not None:
        yield from _one_line("/refreshToken", client.refresh_token.reveal())
    yield from check_oauth2(client)


def _check_database(credential: DatabaseCredential) -> Iterator[Flaw]:
    text = credential.url.reveal()
    if flaws := tuple(_one_line("/url", text)):
        yield from flaws
        return
    try:
        parts = urlsplit(text)
        is_whole = parts.scheme == "postgresql" and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_whole = False
    if not is_whole or len(parts.path) < 2:
        yield Flaw("/url", "must be postgresql://user:password@host:port/database")


_CHECKS: Mapping[str, Callable[[Any], Iterator[Flaw]]] = {
    "bearer": _check_bearer,
    "basic": _check_basic,
    "apiKey": _check_api_key,
    "smtp": _check_smtp,
    "signing": _check_signing,
    "oauth2": _check_oauth2,
    "database": _check_database,
}
