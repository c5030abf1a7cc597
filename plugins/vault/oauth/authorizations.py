"""A person's authorization: where to send them, and what to make of their coming back (RFC 6749 §4.1, RFC 7636)."""

import base64
import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
import structlog
from msgspec import Struct
from sqlalchemy import select, update
from sqlalchemy.engine import Row

from plugins.storage.database import Database, now
from plugins.vault.cipher import Sealer
from plugins.vault.errors import AuthorizationFailed, NotAuthorizable, UnknownAuthorization
from plugins.vault.forms import decode_data
from plugins.vault.keys import Vault
from plugins.vault.oauth.client import OAuth2Client
from plugins.vault.oauth.grant import seal_grant
from plugins.vault.oauth.provider import Provider, Refused
from plugins.vault.table import credentials, data_place, find_credential, is_credential, state_place

log = structlog.get_logger(__name__)

#: how long a person may take
LIFETIME = timedelta(minutes=10)
_LONGEST_STATE = 200


class Authorization(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a person has to open."""

    url: str
    #: comes back with them, once
    state: str
    expires_at: datetime
    #: where they come back to; the provider must know it
    redirect_uri: str


class Initiator(Struct, frozen=True):
    """Who sent a person on their way, in the words of who asks for it."""

    id: str
    role: str


class _Begun(Struct, frozen=True):
    """What an authorization is finished with."""

    verifier: str
    redirect_uri: str
    expires_at: datetime
    by: Initiator


class Return(Struct, frozen=True):
    """A person has come back: whose authorization that is, and what it is finished with."""

    tenant_id: str
    credential_id: str
    #: who began it
    by: Initiator
    _row: Row[Any]
    _begun: _Begun


class Authorizations:
    """Authorizations of credentials by persons: one at a time for each, the newest.

    Args:
        database: holds the credentials.
        vault: holds their keys.
        provider: exchanges codes.
        redirect_uri: where persons come back to.
    """

    def __init__(self, database: Database, vault: Vault, provider: Provider, redirect_uri: str) -> None:
        self._database = database
        self._vault = vault
        self._provider = provider
        self._redirect_uri = redirect_uri

    async def begin(self, tenant_id: str, credential_id: str, by: Initiator) -> Authorization:
        """Return where a person authorizes a credential; what was begun before is void.

        Args:
            tenant_id: whose credential.
            credential_id: which.
            by: comes back with the person.

        Raises:
            CredentialNotFound: the tenant has none with this id.
            NotAuthorizable: no person can authorize this one.
        """
        row = await find_credential(self._database, tenant_id, credential_id)
        sealer = await self._vault.sealer(tenant_id)
        client = _client(sealer, row)
        if client is None or not client.needs_a_person or client.authorization_url is None:
            raise NotAuthorizable(
                "only a credential of type oauth2 with grantType authorization_code and an authorizationUrl is "
                "authorized by a person"
            )
        # The tenant is in front: who comes back says no more than this.
        state = f"{tenant_id}.{secrets.token_urlsafe(32)}"
        begun = _Begun(secrets.token_urlsafe(64), self._redirect_uri, now() + LIFETIME, by)
        change = update(credentials).where(*is_credential(tenant_id, credential_id))
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(
                change.values(state_sha256=_digest(state), state_sealed=sealer.seal_json(begun, state_place(row.id)))
            )
        return Authorization(
            url=_url(client, state, begun),
            state=state,
            expires_at=begun.expires_at,
            redirect_uri=begun.redirect_uri,
        )

    async def take(self, state: str) -> Return:
        """Return whose authorization a state belongs to. It is good once: whatever comes of it, it is spent.

        Args:
            state: as it came back.

        Raises:
            UnknownAuthorization: nobody began this, or it was finished.
        """
        tenant_id = state.partition(".")[0]
        row = await self._taken(tenant_id, state) if len(state) <= _LONGEST_STATE else None
        if row is None:
            raise UnknownAuthorization
        sealer = await self._vault.sealer(tenant_id)
        try:
            begun = msgspec.convert(sealer.open_json(row.state_sealed, state_place(row.id)), _Begun)
        except msgspec.ValidationError:
            # A release before began it, which kept less.
            raise UnknownAuthorization from None
        return Return(tenant_id, row.id, begun.by, row, begun)

    async def finish(self, taken: Return, *, code: str | None, error: str | None) -> None:
        """Keep what a person has authorized.

        Args:
            taken: by the state that came back.
            code: the provider's word that they agreed.
            error: its word that they did not.

        Raises:
            UnknownAuthorization: it took too long, or the credential is another by now.
            AuthorizationFailed: the provider, or the person, did not agree.
            PluginError: the provider does not answer; begin again.
        """
        tenant_id, row, begun = taken.tenant_id, taken._row, taken._begun
        sealer = await self._vault.sealer(tenant_id)
        client = _client(sealer, row)
        if begun.expires_at < now() or client is None:
            raise UnknownAuthorization
        if code is None:
            raise AuthorizationFailed(error or "without a code")
        try:
            grant = await self._provider.with_code(
                client, code=code, verifier=begun.verifier, redirect_uri=begun.redirect_uri
            )
        except Refused as refusal:
            raise AuthorizationFailed(refusal.code) from None
        values: dict[str, Any] = {
            "grant_sealed": seal_grant(sealer, row.id, grant),
            "grant_version": credentials.c.grant_version + 1,
            "status": "ok",
            "renewing_by": None,
            "renewing_until": None,
            "updated_at": now(),
        }
        # The client may have been replaced while the provider answered.
        kept = (*is_credential(tenant_id, row.id), credentials.c.rotated_at.is_not_distinct_from(row.rotated_at))
        async with self._database.transaction(tenant_id) as connection:
            if (await connection.execute(update(credentials).where(*kept).values(values))).rowcount == 0:
                raise UnknownAuthorization
        log.info("credential.authorized", tenant_id=tenant_id, credential_id=row.id)

    async def _taken(self, tenant_id: str, state: str) -> Row[Any] | None:
        """Return the credential that a state belongs to, and let nobody else have it by that."""
        mine = (credentials.c.tenant_id == tenant_id, credentials.c.state_sha256 == _digest(state))
        async with self._database.transaction(tenant_id) as connection:
            row = (await connection.execute(select(credentials).where(*mine))).one_or_none()
            spent = update(credentials).where(*mine).values(state_sha256=None, state_sealed=None)
            if (await connection.execute(spent)).rowcount == 0:
                return None
        return row


def _client(sealer: Sealer, row: Row[Any]) -> OAuth2Client | None:
    """Return the client that a credential describes; ``None``: it is of another type."""
    if row.type != "oauth2":
        return None
    client: OAuth2Client = decode_data(row.type, sealer.open_json(row.data_sealed, data_place(row.id)))
    return client


def _url(client: OAuth2Client, state: str, begun: _Begun) -> str:
    challenge = base64.urlsafe_b64encode(hashlib.sha256(begun.verifier.encode()).digest()).decode().rstrip("=")
    asked = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": begun.redirect_uri,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    if client.scopes:
        asked["scope"] = " ".join(client.scopes)
    if client.audience is not None:
        asked["audience"] = client.audience
    parts = urlsplit(client.authorization_url or "")
    # What a provider wants besides stands in the URL's own query; what we say counts.
    own = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in asked]
    return urlunsplit(parts._replace(query=urlencode([*own, *asked.items()]), fragment=""))


def _digest(state: str) -> bytes:
    return hashlib.sha256(state.encode()).digest()
