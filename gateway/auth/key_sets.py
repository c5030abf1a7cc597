"""The public keys of one issuer, fetched, kept, and served through an outage of theirs."""

import asyncio
import time

import jwt
import msgspec
import structlog
from msgspec import Struct

from gateway.errors import IssuerUnavailable
from plugins.egress.client import EgressClient
from plugins.sdk.errors import PluginError

log = structlog.get_logger(__name__)

#: seconds after which known keys are fetched again, beside the request that notices
FRESH = 600.0
#: seconds between two fetches, whoever asks for whatever key
COOL_DOWN = 30.0
_TIMEOUT = 5.0
_MOST_BYTES = 256 * 1024


class _Discovery(Struct):
    issuer: str
    jwks_uri: str


class KeySet:
    """The keys of one issuer.

    Args:
        issuer: as ``iss`` has it.
        jwks_uri: where the keys are; ``None``: where the issuer's discovery document says.
        egress: the way out; what an operator has not opened must be public.
    """

    def __init__(self, issuer: str, jwks_uri: str | None, egress: EgressClient) -> None:
        self._issuer = issuer
        self._jwks_uri = jwks_uri
        self._egress = egress
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._fetch: asyncio.Task[None] | None = None

    async def find(self, key_id: str | None) -> jwt.PyJWK | None:
        """Return a key; ``None``: the issuer has no such key, or has not had it lately.

        Args:
            key_id: ``kid`` of a token; ``None`` means the issuer's only key.

        Raises:
            IssuerUnavailable: it never answered.
        """
        found = self._known(key_id)
        if found is not None:
            if time.monotonic() - self._fetched_at > FRESH:
                self._begin_fetch()
            return found
        if (fetch := self._begin_fetch()) is not None:
            # Whoever hangs up must not take the fetch from the others that wait for it.
            await asyncio.shield(fetch)
        if not self._keys:
            raise IssuerUnavailable(
                "The issuer of this token does not say what its keys are; try again soon.",
                headers={"Retry-After": f"{COOL_DOWN:.0f}"},
            )
        return self._known(key_id)

    def _known(self, key_id: str | None) -> jwt.PyJWK | None:
        if key_id is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(key_id)

    def _begin_fetch(self) -> "asyncio.Task[None] | None":
        """Return the fetch that is at work, or a new one; ``None``: the last one is too recent."""
        if self._fetch is not None and not self._fetch.done():
            return self._fetch
        if time.monotonic() - self._tried_at < COOL_DOWN:
            return None
        self._tried_at = time.monotonic()
        self._fetch = asyncio.create_task(self._try_fetch())
        return self._fetch

    async def _try_fetch(self) -> None:
        try:
            uri = self._jwks_uri or await self._discover()
            keys = jwt.PyJWKSet.from_json((await self._get(uri)).decode()).keys
        except (PluginError, jwt.PyJWTError, ValueError) as error:
            log.warning("oidc.keysNotFetched", issuer=self._issuer, error=str(error), known=len(self._keys))
            return
        self._keys = {key.key_id: key for key in keys if key.public_key_use in (None, "sig")}
        self._fetched_at = time.monotonic()

    async def _discover(self) -> str:
        document = await self._get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        discovered = msgspec.json.decode(document, type=_Discovery)
        if discovered.issuer != self._issuer:
            raise ValueError(f"its discovery document is that of {discovered.issuer!r}")
        return discovered.jwks_uri

    async def _get(self, url: str) -> bytes:
        response = await self._egress.request("GET", url, timeout=_TIMEOUT, max_bytes=_MOST_BYTES)
        if response.status != 200:
            raise ValueError(f"{url} answered {response.status}")
        return response.content
