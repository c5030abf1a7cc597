"""Access tokens, renewed when they end, once for everybody who waits for one.

A refresh token is good for one use, and a provider that sees it twice revokes the whole grant. So whoever renews holds
a lease in the credential's row: it reads the row again under it, asks the provider outside of any transaction, and
commits what it was given before anybody uses it. Others, in this process and in all others, wait for the commit.

A holder that dies leaves its lease, which ends, and perhaps an answer that nobody kept. The next one asks with the
token that is in the row: the provider either grants it, or revokes the grant, and the credential says ``needsReauth``.
"""

import asyncio
import secrets
from typing import Any

import structlog
from msgspec import Struct
from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.engine import Row

from plugins.sdk.credential import Secret
from plugins.sdk.errors import Permanent, Transient
from plugins.storage.clock import moment
from plugins.storage.database import Database, now
from plugins.vault.keys import Vault
from plugins.vault.oauth.client import OAuth2Client
from plugins.vault.oauth.grant import Grant, open_grant, seal_grant
from plugins.vault.oauth.provider import TIMEOUT, Provider, Refused
from plugins.vault.table import credentials, is_credential

log = structlog.get_logger(__name__)

#: seconds for which nobody else renews: the provider's answer, and the commit after it
LEASE = TIMEOUT + 10.0
#: seconds for which one caller waits for another's renewal
PATIENCE = LEASE + 5.0
#: a token this young, in seconds, is not renewed though a server refuses it: it is not the token that is wrong
YOUNG = 30.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


class Holder(Struct, frozen=True, kw_only=True):
    """The credential whose tokens are meant."""

    tenant_id: str
    credential_id: str
    #: for messages
    name: str
    client: OAuth2Client

    @property
    def key(self) -> tuple[str, str]:
        return self.tenant_id, self.credential_id


class Grants:
    """The tokens of credentials of type ``oauth2``. Make one per process."""

    def __init__(self, database: Database, vault: Vault, provider: Provider) -> None:
        self._database = database
        self._vault = vault
        self._provider = provider
        self._renewals: dict[tuple[str, str], asyncio.Task[Secret]] = {}

    async def access(self, holder: Holder, row: Row[Any]) -> Secret:
        """Return an access token that is good now.

        Args:
            holder: whose token it is.
            row: the credential as it was just read.

        Raises:
            Permanent: ``credential.needsAuthorization``, ``credential.needsReauth``, ``oauth.invalidAnswer``,
                ``egress.forbidden``.
            Transient: ``oauth.unavailable``, ``credential.renewing``; nothing was done with the token.
        """
        _refuse_unusable(holder, row)
        grant = open_grant(await self._vault.sealer(holder.tenant_id), row)
        if grant.access_token is not None and grant.is_good(now()):
            return grant.access_token
        try:
            return await self._renewed(holder, None)
        except Transient:
            # What is not at its end yet is worth a try while nothing newer can be had.
            if grant.access_token is not None and grant.is_alive(now()):
                return grant.access_token
            raise

    async def replace(self, holder: Holder, rejected: Secret) -> Secret | None:
        """Return another access token than one that a server has just refused; ``None``: another would not help.

        Raises:
            Permanent, Transient: as `access`.
        """
        token = await self._renewed(holder, rejected)
        return None if token == rejected else token

    async def close(self) -> None:
        """Let renewals end: what a provider has given must not be lost."""
        if self._renewals:
            await asyncio.wait(self._renewals.values(), timeout=LEASE)

    async def _renewed(self, holder: Holder, rejected: Secret | None) -> Secret:
        """Join the renewal that is at work in this process, or begin one."""
        while True:
            task = self._renewals.get(holder.key)
            is_own = task is None
            if task is None:
                task = asyncio.create_task(self._renew(holder, rejected))
                self._renewals[holder.key] = task
                task.add_done_callback(lambda done: self._end(holder.key, done))
            # Whoever gives up must not take the renewal from the others.
            token = await asyncio.shield(task)
            if is_own or token != rejected:
                return token

    def _end(self, key: tuple[str, str], task: "asyncio.Task[Secret]") -> None:
        self._renewals.pop(key, None)
        if not task.cancelled():
            task.exception()

    async def _renew(self, holder: Holder, rejected: Secret | None) -> Secret:
        """Return what the row holds once it is good, renewing it if nobody else does."""
        clock = asyncio.get_running_loop().time
        deadline, pause = clock() + PATIENCE, _SHORTEST_PAUSE
        sealer = await self._vault.sealer(holder.tenant_id)
        while clock() < deadline:
            row = await self._read(holder)
            _refuse_unusable(holder, row)
            grant = open_grant(sealer, row)
            token = grant.access_token
            if token is not None and grant.is_good(now()) and (token != rejected or _is_last(holder, grant)):
                return token
            if (lease := await self._take(holder, row)) is not None:
                renewed = await self._ask(holder, row, grant, lease)
                if renewed is not None:
                    return renewed
            else:
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE)
        raise Transient(
            f"the token of credential {holder.name!r} is being renewed, and has not come within {PATIENCE:g} s",
            type="credential.renewing",
            effect="none",
        )

    async def _ask(self, holder: Holder, row: Row[Any], grant: Grant, lease: str) -> Secret | None:
        """Renew under a lease; ``None``: the row has changed meanwhile, and what it holds now counts."""
        try:
            renewed = await self._provider.renewed(holder.client, grant)
        except Refused as error:
            broke_off = row.renewing_by is not None and holder.client.needs_a_person
            log.warning("credential.refused", **_named(holder), code=error.code, after_one_that_broke_off=broke_off)
            sealer = await self._vault.sealer(holder.tenant_id)
            ended = Grant(refused=f"{error.code}, after a renewal that broke off" if broke_off else error.code)
            await self._change(
                holder,
                credentials.c.renewing_by == lease,
                renewing_by=None,
                renewing_until=None,
                status="needsReauth",
                grant_sealed=seal_grant(sealer, holder.credential_id, ended),
            )
            return None
        except Exception:
            await self._change(holder, credentials.c.renewing_by == lease, renewing_by=None, renewing_until=None)
            raise
        sealer = await self._vault.sealer(holder.tenant_id)
        sealed = seal_grant(sealer, holder.credential_id, renewed)
        # Even if the lease has ended and another holder was refused: these tokens are newer than what that one showed.
        is_kept = await self._change(
            holder,
            credentials.c.grant_version == row.grant_version,
            grant_version=row.grant_version + 1,
            renewing_by=None,
            renewing_until=None,
            status="ok",
            grant_sealed=sealed,
        )
        if not is_kept:
            return None
        log.info("credential.renewed", **_named(holder))
        return renewed.access_token

    async def _read(self, holder: Holder) -> Row[Any]:
        query = select(credentials, moment(self._database).label("clock")).where(*is_credential(*holder.key))
        async with self._database.read(holder.tenant_id) as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise Permanent(f"credential {holder.name!r} was deleted meanwhile", type="credential.missing")
        return row

    async def _take(self, holder: Holder, row: Row[Any]) -> str | None:
        """Take the lease, if it is free and the row is as it was read."""
        if row.renewing_until is not None and row.renewing_until > row.clock:
            return None
        lease = secrets.token_hex(16)
        is_taken = await self._change(
            holder,
            credentials.c.grant_version == row.grant_version,
            or_(
                credentials.c.renewing_until.is_(None),
                credentials.c.renewing_until <= moment(self._database),
            ),
            renewing_by=lease,
            renewing_until=moment(self._database, LEASE),
        )
        return lease if is_taken else None

    async def _change(self, holder: Holder, *conditions: ColumnElement[bool], **values: Any) -> bool:
        change = update(credentials).where(*is_credential(*holder.key), *conditions).values(values)
        async with self._database.transaction(holder.tenant_id) as connection:
            return (await connection.execute(change)).rowcount == 1


def _refuse_unusable(holder: Holder, row: Row[Any]) -> None:
    if row.status == "needsAuthorization":
        raise Permanent(
            f"nobody has authorized credential {holder.name!r} yet: open the url that "
            f"POST /v1/credentials/{holder.credential_id}/authorize answers",
            type="credential.needsAuthorization",
        )
    if row.status == "needsReauth":
        way_out = "authorize it again" if holder.client.needs_a_person else "rotate it"
        raise Permanent(
            f"the provider grants credential {holder.name!r} no more tokens; {way_out} "
            f"(GET /v1/credentials/{holder.credential_id} says why)",
            type="credential.needsReauth",
        )


def _is_last(holder: Holder, grant: Grant) -> bool:
    """Whether no other token can be had than this one, or would fare no better."""
    is_young = grant.obtained_at is not None and (now() - grant.obtained_at).total_seconds() < YOUNG
    return is_young or (holder.client.needs_a_person and grant.refresh_token is None)


def _named(holder: Holder) -> dict[str, str]:
    return {"tenant_id": holder.tenant_id, "credential_id": holder.credential_id}
