"""A tenant sends as itself: as what it was granted, or as the server's own sender."""

from typing import Any

import pytest

from plugins import Permanent, SmtpCredential
from plugins.builtin.email.connections import SmtpConnections
from plugins.builtin.email.desk import Desk, Identity
from plugins.builtin.email.plugin import email_plugins
from plugins.builtin.email.senders import is_granted
from plugins.builtin.email.server import SmtpServer, parse_smtp_url
from plugins.testing import run
from tests.plugins.builtin.email.posting import MAIL
from tests.plugins.mail import MailServer

IDENTITIES = {
    "ten_a": Identity(sender="Acme <news@acme.example>", reply_to="help@acme.example", granted=("*@acme.example",)),
    "ten_b": Identity(),
    "ten_c": Identity(sender="ceo@acme.example"),
}


async def send(mails: MailServer, tenant_id: str, config: Any = None, *, credential: bool = False) -> None:
    async def identity(tenant_id: str) -> Identity:
        return IDENTITIES[tenant_id]

    server = SmtpServer(
        credential=SmtpCredential(host="127.0.0.1", port=mails.port, security="none"), sender="no-reply@house.example"
    )
    plugin, _ = email_plugins(server, SmtpConnections(idle=0), Desk(identity=identity))
    own = {"smtp": server.credential} if credential else {}
    await run(plugin, {**MAIL, **(config or {})}, tenant_id=tenant_id, credentials=own)


async def test_a_mail_that_names_nobody_comes_from_the_tenants_or_the_servers_own_sender(mails: MailServer) -> None:
    await send(mails, "ten_a")
    await send(mails, "ten_b")
    first, second = (mail.message for mail in mails.mails)
    assert (first["From"], first["Reply-To"]) == ("Acme <news@acme.example>", "help@acme.example")
    assert (second["From"], second["Reply-To"]) == ("no-reply@house.example", None)


@pytest.mark.parametrize(
    ("tenant_id", "config", "pointer"),
    [
        ("ten_b", {"from": "ceo@acme.example"}, "/from"),
        ("ten_b", {"from": "Acme <CEO@Acme.Example>"}, "/from"),
        ("ten_b", {"returnPath": "ceo@acme.example"}, "/returnPath"),
        ("ten_a", {"from": "news@acme.example.evil.example"}, "/from"),
        ("ten_a", {"from": "news@mail.acme.example"}, "/from"),
        ("ten_c", {}, "/from"),
    ],
)
async def test_nobody_sends_as_another(mails: MailServer, tenant_id: str, config: Any, pointer: str) -> None:
    with pytest.raises(Permanent) as caught:
        await send(mails, tenant_id, config)
    assert (caught.value.type, pointer in caught.value.message) == ("email.senderNotGranted", True)
    assert mails.mails == []


async def test_what_was_granted_and_the_servers_own_sender_may_be_named(mails: MailServer) -> None:
    await send(mails, "ten_a", {"from": "Sales <SALES@acme.example>", "returnPath": "bounces@acme.example"})
    await send(mails, "ten_b", {"from": "The House <No-Reply@house.example>"})
    assert [mail.sender for mail in mails.mails] == ["bounces@acme.example", "No-Reply@house.example"]


async def test_a_server_of_ones_own_decides_for_itself(mails: MailServer) -> None:
    await send(mails, "ten_b", {"from": "ceo@acme.example"}, credential=True)
    assert mails.mails[0].sender == "ceo@acme.example"


@pytest.mark.parametrize(
    ("pattern", "granted", "refused"),
    [
        ("robot@a.example", ["robot@a.example", "Robot@a.example"], ["bot@a.example", "robot@b.example"]),
        ("*@a.example", ["x@a.example"], ["x@b.a.example", "x@aa.example", "x@a.example.b"]),
        ("*@*.a.example", ["x@b.a.example", "x@c.b.a.example"], ["x@a.example", "x@ba.example"]),
        ("*", ["x@a.example"], []),
    ],
)
def test_a_grant_is_for_what_it_says(pattern: str, granted: list[str], refused: list[str]) -> None:
    assert all(is_granted(address, [pattern]) for address in granted)
    assert not any(is_granted(address, [pattern]) for address in refused)


def test_a_server_may_let_everybody_send_as_anybody() -> None:
    assert parse_smtp_url("smtp://m:25?senders=any").any_sender
    assert not parse_smtp_url("smtp://m:25?from=a%40b.test").any_sender
    with pytest.raises(ValueError, match="smtp://host:port"):
        parse_smtp_url("smtp://m:25?senders=some")
