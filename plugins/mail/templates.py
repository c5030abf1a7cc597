"""The tenants' templates of mails, by name."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Column, ForeignKey, LargeBinary, PrimaryKeyConstraint, String, Table, delete, func, select

from plugins.builtin.email.template import Template, template_faults
from plugins.mail.errors import InvalidMailSetting, TemplateNotFound
from plugins.sdk.conform import Flaw
from plugins.storage.database import Database, Instant, metadata, now
from plugins.storage.tenants import tenants
from plugins.vault.cipher import Sealer
from plugins.vault.keys import Vault
from plugins.vault.renewal import sealed_as

email_templates = Table(
    "email_templates",
    metadata,
    Column("tenant_id", String(40), ForeignKey(tenants.c.id), nullable=False),
    Column("name", String(200), nullable=False),
    Column("content_sealed", LargeBinary, nullable=False, info=sealed_as(lambda row: _place(row.name))),
    Column("updated_at", Instant, nullable=False),
    PrimaryKeyConstraint("tenant_id", "name"),
)

#: of one tenant
MAX_TEMPLATES = 1_000


class StoredTemplate(Struct, frozen=True, kw_only=True, rename="camel"):
    name: str
    subject: str
    text: str | None
    html: str | None
    updated_at: datetime


class Templates:
    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def put(self, tenant_id: str, name: str, template: Template) -> StoredTemplate:
        """Store a template under a name, in place of an earlier one; mails on their way may still use that.

        Raises:
            InvalidMailSetting: with every fault, or the tenant has too many.
        """
        if faults := tuple(Flaw(*fault) for fault in template_faults(template)):
            raise InvalidMailSetting(faults)
        sealer = await self._vault.sealer(tenant_id)
        moment = now()
        row = {"content_sealed": sealer.seal_json(template, _place(name)), "updated_at": moment}
        others = email_templates.c.tenant_id == tenant_id, email_templates.c.name != name
        statement = self._database.insert(email_templates).values(tenant_id=tenant_id, name=name, **row)
        async with self._database.transaction(tenant_id) as connection:
            count = (await connection.execute(select(func.count()).where(*others))).scalar_one()
            if count >= MAX_TEMPLATES:
                raise InvalidMailSetting((Flaw("", f"a tenant has at most {MAX_TEMPLATES} templates; delete one"),))
            await connection.execute(statement.on_conflict_do_update(index_elements=["tenant_id", "name"], set_=row))
        return _stored(name, template, moment)

    async def list(self, tenant_id: str) -> Sequence[StoredTemplate]:
        """Return a tenant's templates, by name."""
        query = select(email_templates).where(email_templates.c.tenant_id == tenant_id).order_by(email_templates.c.name)
        async with self._database.read(tenant_id) as connection:
            rows = (await connection.execute(query)).all()
        if not rows:
            return ()
        sealer = await self._vault.sealer(tenant_id)
        return tuple(_stored(row.name, _open(sealer, row), row.updated_at) for row in rows)

    async def get(self, tenant_id: str, name: str) -> StoredTemplate:
        """Return a template.

        Raises:
            TemplateNotFound
        """
        async with self._database.read(tenant_id) as connection:
            row = (await connection.execute(select(email_templates).where(*_is(tenant_id, name)))).one_or_none()
        if row is None:
            raise TemplateNotFound(name)
        return _stored(name, _open(await self._vault.sealer(tenant_id), row), row.updated_at)

    async def delete(self, tenant_id: str, name: str) -> None:
        """Forget a template.

        Raises:
            TemplateNotFound
        """
        async with self._database.transaction(tenant_id) as connection:
            done = await connection.execute(delete(email_templates).where(*_is(tenant_id, name)))
        if done.rowcount == 0:
            raise TemplateNotFound(name)


def template_of(stored: StoredTemplate) -> Template:
    return Template(subject=stored.subject, text=stored.text, html=stored.html)


def _stored(name: str, template: Template, updated_at: datetime) -> StoredTemplate:
    return StoredTemplate(
        name=name, subject=template.subject, text=template.text, html=template.html, updated_at=updated_at
    )


def _open(sealer: Sealer, row: Any) -> Template:
    return msgspec.convert(sealer.open_json(row.content_sealed, _place(row.name)), Template)


def _is(tenant_id: str, name: str) -> tuple[Any, ...]:
    return email_templates.c.tenant_id == tenant_id, email_templates.c.name == name


def _place(name: str) -> str:
    return f"email.template:{name}"
