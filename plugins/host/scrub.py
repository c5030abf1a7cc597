"""Takes the secrets of one call out of everything that leaves it."""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

import msgspec

from plugins.sdk.credential import BasicCredential, Credential, DatabaseCredential, Secret, SmtpCredential

MASK = "***"

#: In outputs, shorter secrets are let stand: masking ``test`` in a document would do more harm than good.
_SHORTEST_IN_OUTPUT = 8


class Scrubber:
    """Replaces the secrets of the credentials that were lent, in the forms in which servers and libraries repeat them.

    Args:
        credentials: what was lent to the call.
    """

    def __init__(self, credentials: Iterable[Credential] = ()) -> None:
        self._secrets: list[str] = []
        self._anywhere = self._in_output = _pattern([])
        self.learn(*credentials)

    def learn(self, *credentials: Credential) -> None:
        """Replace the secrets of these, too, from now on."""
        self._secrets += [secret for credential in credentials for secret in _secrets(credential)]
        self._anywhere = _pattern(self._secrets)
        self._in_output = _pattern([secret for secret in self._secrets if len(secret) >= _SHORTEST_IN_OUTPUT])

    def text(self, text: str) -> str:
        """Return `text` for people: messages, log lines."""
        return self._anywhere.sub(MASK, text) if self._anywhere else text

    def json(self, encoded: bytes) -> bytes:
        """Return an encoded JSON document with the secrets in its strings masked."""
        if self._in_output is None or not self._in_output.search(encoded.decode()):
            return encoded
        return msgspec.json.encode(self._walk(msgspec.json.decode(encoded), self._in_output))

    def _walk(self, value: Any, pattern: re.Pattern[str]) -> Any:
        match value:
            case str():
                return pattern.sub(MASK, value)
            case list():
                return [self._walk(item, pattern) for item in value]
            case dict():
                return {pattern.sub(MASK, key): self._walk(item, pattern) for key, item in value.items()}
            case _:
                return value


def _secrets(credential: Credential) -> Iterator[str]:
    for name in credential.__struct_fields__:
        value = getattr(credential, name)
        if isinstance(value, Secret):
            yield value.reveal()
    # as the Authorization header (RFC 7617) and as SMTP's AUTH PLAIN (RFC 4616) carry them
    match credential:
        case BasicCredential():
            yield _base64(f"{credential.username}:{credential.password.reveal()}")
        case SmtpCredential(username=str() as username, password=Secret() as password):
            yield _base64(f"\0{username}\0{password.reveal()}")
        case DatabaseCredential(url=url):
            inner = urlsplit(url.reveal()).password or ""
            yield from (inner, unquote(inner))


def _pattern(secrets: Iterable[str]) -> re.Pattern[str] | None:
    forms = {form for secret in secrets for form in _forms(secret) if form}
    if not forms:
        return None
    # The longest first: a form must not be masked in part because a shorter one begins it.
    return re.compile("|".join(re.escape(form) for form in sorted(forms, key=lambda form: (-len(form), form))))


def _forms(secret: str) -> Iterator[str]:
    encoded = _base64(secret)
    yield secret
    yield from (encoded, encoded.rstrip("="))
    yield from (encoded.translate(_URL_SAFE), encoded.translate(_URL_SAFE).rstrip("="))
    yield from (quote(secret, safe=""), quote(secret), quote_plus(secret))
    # as JSON and as Python write it between quotes
    yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1])


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


_URL_SAFE = str.maketrans("+/", "-_")
