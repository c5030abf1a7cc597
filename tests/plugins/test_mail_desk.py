"""What tenants settle about their mails is stored sealed, each for itself, on both databases."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import select

from plugins.builtin.email.template import Template
from plugins.mail import templates as module
from plugins.mail.desk import open_desk
from plugins.mail.errors import InvalidMailSetting, TemplateNotFound
from plugins.mail.senders import EmailGrant, EmailSender, Senders, email_senders
from plugins.mail.templates import Templates, email_templates
from plugins.sdk.errors import Transient
from plugins.storage.database import Database
from plugins.storage.ids import new_id
from plugins.storage.tenants import create_tenant
from plugins.vault.keys import Vault

TEMPLATE = Template(subject="Hello {{ name }}", text="secret words")


@pytest.fixture
async def other_id(database: Database) -> str:
    tenant_id = new_id("ten")
    async with database.transaction(tenant_id) as connection:
        return (await create_tenant(connection, "Other", id=tenant_id)).id


async def test_a_tenants_word_and_its_grant_do_not_overwrite_each_other(
    database: Database, vault: Vault, tenant_id: str, other_id: str
) -> None:
    senders = Senders(database, vault)
    await asyncio.gather(
        *(senders.settle(tenant_id, EmailSender(from_=f"a{n}@acme.example")) for n in range(4)),
        *(senders.grant(tenant_id, EmailGrant(allowed=(f"*@x{n}.example",))) for n in range(4)),
    )
    identity = await senders.identity(tenant_id)
    assert identity.sender is not None
    assert len(identity.granted) == 1
    assert (await senders.identity(other_id)).sender is None


async def test_templates_are_replaced_listed_and_limited(
    database: Database, vault: Vault, tenant_id: str, other_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    templates = Templates(database, vault)
    monkeypatch.setattr(module, "MAX_TEMPLATES", 2)
    for name in ("b", "a"):
        await templates.put(tenant_id, name, TEMPLATE)
    with pytest.raises(InvalidMailSetting, match="at most 2"):
        await templates.put(tenant_id, "c", TEMPLATE)
    await templates.put(tenant_id, "a", Template(subject="new", html="<p>"))
    assert [(each.name, each.subject) for each in await templates.list(tenant_id)] == [
        ("a", "new"),
        ("b", "Hello {{ name }}"),
    ]
    with pytest.raises(TemplateNotFound):
        await templates.get(other_id, "a")
    with pytest.raises(TemplateNotFound):
        await templates.delete(other_id, "a")


async def test_what_users_wrote_is_sealed(database: Database, vault: Vault, tenant_id: str) -> None:
    await Templates(database, vault).put(tenant_id, "a", TEMPLATE)
    await Senders(database, vault).settle(tenant_id, EmailSender(from_="news@acme.example"))
    async with database.read(tenant_id) as connection:
        stored = [
            *(await connection.execute(select(email_templates.c.content_sealed))).scalars(),
            *(await connection.execute(select(email_senders.c.sender_sealed))).scalars(),
        ]
    assert len(stored) == 2
    assert not any(b"secret words" in each or b"acme" in each for each in stored)


async def test_without_the_database_a_mail_waits(vault: Vault, tenant_id: str, tmp_path: Path) -> None:
    away = Database(f"sqlite:///{tmp_path}/away/gateway.db")
    desk = open_desk(Senders(away, vault), Templates(away, vault))
    for question in (desk.identity(tenant_id), desk.template(tenant_id, "a")):
        with pytest.raises(Transient) as caught:
            await question
        assert (caught.value.type, caught.value.effect) == ("storage.unavailable", "none")
    await away.close()
