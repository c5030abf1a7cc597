"""As whom tenants send: what each settles for itself, and what the administrator grants it."""

from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import Meta, Struct, field
from sqlalchemy import Column, ForeignKey, LargeBinary, String, Table, select

from plugins.builtin.email.desk import Identity
from plugins.builtin.email.mailbox import parse_mailboxes
from plugins.builtin.email.senders import SenderPattern
from plugins.mail.errors import InvalidMailSetting
from plugins.sdk.conform import Flaw
from plugins.sdk.errors import Permanent
from plugins.storage.database import Database, metadata
from plugins.storage.tenants import tenants
from plugins.vault.keys import Vault
from plugins.vault.renewal import sealed_as

email_senders = Table(
    "email_senders",
    metadata,
    Column("tenant_id", String(40), ForeignKey(tenants.c.id), primary_key=True),
    # the tenant's own word
    Column("sender_sealed", LargeBinary, info=sealed_as(lambda _: _SENDER)),
    # the administrator's: two columns, so that neither overwrites the other
    Column("granted_sealed", LargeBinary, info=sealed_as(lambda _: _GRANTED)),
)

_SENDER: str = "email.sender"
_GRANTED: str = "email.granted"

Mailbox = Annotated[str, Meta(min_length=1, max_length=1000)]


class EmailSender(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Who a tenant's mails come from where they say nothing else."""

    from_: Mailbox | None = field(name="from", default=None)
    reply_to: Mailbox | None = None


class EmailGrant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a tenant may name as its sender by the installation's mail server, besides that server's own sender."""

    allowed: Annotated[tuple[SenderPattern, ...], Meta(max_length=100)] = ()


class Senders:
    """The senders of all tenants."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def identity(self, tenant_id: str) -> Identity:
        """Return as whom a tenant sends."""
        query = select(email_senders).where(email_senders.c.tenant_id == tenant_id)
        async with self._database.read(tenant_id) as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return Identity()
        sealer = await self._vault.sealer(tenant_id)
        settled = {} if row.sender_sealed is None else sealer.open_json(row.sender_sealed, _SENDER)
        granted = [] if row.granted_sealed is None else sealer.open_json(row.granted_sealed, _GRANTED)
        return Identity(sender=settled.get("from"), reply_to=settled.get("replyTo"), granted=tuple(granted))

    async def settle(self, tenant_id: str, sender: EmailSender) -> None:
        """Settle who a tenant's mails come from, in place of what it had.

        Raises:
            InvalidMailSetting: with every fault.
        """
        if faults := tuple(_faults(sender)):
            raise InvalidMailSetting(faults)
        await self._put(tenant_id, "sender_sealed", {"from": sender.from_, "replyTo": sender.reply_to}, _SENDER)

    async def grant(self, tenant_id: str, grant: EmailGrant) -> None:
        """Grant a tenant these senders, in place of what it had."""
        await self._put(tenant_id, "granted_sealed", list(grant.allowed), _GRANTED)

    async def _put(self, tenant_id: str, column: str, value: Any, place: str) -> None:
        sealed = {column: (await self._vault.sealer(tenant_id)).seal_json(value, place)}
        statement = self._database.insert(email_senders).values(tenant_id=tenant_id, **sealed)
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(statement.on_conflict_do_update(index_elements=["tenant_id"], set_=sealed))


def _faults(sender: EmailSender) -> Iterator[Flaw]:
    for pointer, text in (("/from", sender.from_), ("/replyTo", sender.reply_to)):
        try:
            if text is not None and len(parse_mailboxes(text, pointer)) != 1:
                yield Flaw(pointer, "must be one address")
        except Permanent:
            yield Flaw(pointer, "must be an address, like robot@example.com or Robot <robot@example.com>")
