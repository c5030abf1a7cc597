"""Connections are kept for the next mail of the same login, and for nobody else's."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from plugins import Permanent, Secret, SmtpCredential, Transient
from plugins.builtin.email.connections import SmtpConnections
from plugins.builtin.email.desk import Desk
from plugins.builtin.email.plugin import email_plugins
from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.testing import run
from tests.plugins.builtin.conftest import Run
from tests.plugins.builtin.email.posting import MAIL, sender_by
from tests.plugins.certificates import tls_contexts
from tests.plugins.mail import MailServer, open_mail_server


@pytest.fixture
async def connections() -> AsyncIterator[SmtpConnections]:
    opened = SmtpConnections(most=2, idle=60)
    yield opened
    await opened.close()


async def until(holds: Any) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.005)


async def test_one_connection_serves_one_mail_after_another(mails: MailServer, connections: SmtpConnections) -> None:
    send = sender_by(mails.port, connections)
    for number in range(5):
        await run(send, MAIL, step=f"mail{number}")
    assert (len(mails.mails), mails.connections) == (5, 1)
    assert len({mail.message["Message-ID"] for mail in mails.mails}) == 5


async def test_mails_at_the_same_time_share_no_connection_and_take_no_more_than_there_may_be(
    mails: MailServer, connections: SmtpConnections
) -> None:
    send = sender_by(mails.port, connections)
    await asyncio.gather(*(run(send, MAIL, step=f"mail{number}") for number in range(12)))
    assert len(mails.mails) == 12
    assert mails.connections == 2


async def test_a_connection_that_died_while_it_rested_is_not_used(
    mails: MailServer, connections: SmtpConnections
) -> None:
    send = sender_by(mails.port, connections)
    await asyncio.gather(run(send, MAIL, step="first"), run(send, MAIL, step="second"))
    mails.hang_up()
    await run(send, MAIL, step="third")
    assert len(mails.mails) == 3


async def test_a_connection_that_a_mail_broke_is_not_used_again(
    mails: MailServer, connections: SmtpConnections
) -> None:
    send = sender_by(mails.port, connections)
    mails.answers += ["554 no", None, "250 OK"]
    for expected in (Permanent, Transient):
        with pytest.raises(expected):
            await run(send, MAIL)
    await run(send, MAIL)
    assert (len(mails.mails), mails.connections) == (1, 3)


async def test_a_refused_recipient_costs_no_connection(mails: MailServer, connections: SmtpConnections) -> None:
    send = sender_by(mails.port, connections)
    mails.refusals["ann@example.com"] = "550 unknown"
    with pytest.raises(Permanent):
        await run(send, MAIL)
    await run(send, MAIL | {"to": "bob@example.com"})
    assert (mails.connections, mails.mails[0].recipients) == (1, ["bob@example.com"])


async def test_a_resting_connection_is_closed_after_a_while(mails: MailServer) -> None:
    connections = SmtpConnections(idle=0.05)
    send = sender_by(mails.port, connections)
    await run(send, MAIL)
    await until(lambda: all(each.transport is None or each.transport.is_closing() for each in mails.open))
    await run(send, MAIL)
    assert mails.connections == 2
    await connections.close()


async def test_every_connection_is_closed_at_the_end(mails: MailServer) -> None:
    connections = SmtpConnections()
    send = sender_by(mails.port, connections)
    await asyncio.gather(run(send, MAIL, step="first"), run(send, MAIL, step="second"))
    assert mails.connections == 2
    await connections.close()
    await until(lambda: all(each.transport is None or each.transport.is_closing() for each in mails.open))


@pytest.mark.parametrize("mechanisms", [("PLAIN",), ("LOGIN",)])
async def test_a_tenant_never_sends_by_anothers_login(
    connections: SmtpConnections, tmp_path: Path, mechanisms: tuple[str, ...], run: Run
) -> None:
    server, trusting = tls_contexts(tmp_path)
    client = EgressClient(Guard(allow=["127.0.0.0/8"]), tls=lambda: trusting)
    send = email_plugins(None, connections, Desk())[0]
    async with open_mail_server(starttls=server, mechanisms=mechanisms) as mails:
        mails.users |= {"ann": "s3cr3t one", "bob": "s3cr3t two"}

        async def post(tenant_id: str, username: str, password: str) -> Any:
            login = SmtpCredential(
                host="127.0.0.1", port=mails.port, username=username, password=Secret(password), security="starttls"
            )
            return await run(send, MAIL, http=client, credentials={"smtp": login}, tenant_id=tenant_id)

        for _ in range(2):
            await post("ten_1", "ann", "s3cr3t one")
        assert (mails.connections, mails.logins) == (1, 1), "a login is done once"
        await post("ten_1", "bob", "s3cr3t two")
        await post("ten_2", "ann", "s3cr3t one")
        assert (mails.connections, mails.logins) == (3, 3)
        assert [mail.user for mail in mails.mails] == ["ann", "ann", "bob", "ann"]
        with pytest.raises(Permanent) as caught:
            await post("ten_1", "ann", "guessed")
        assert caught.value.type == "smtp.authentication"
        assert "s3cr3t" not in repr(vars(connections))
    await client.close()


async def test_a_kept_connection_is_not_used_where_a_credential_no_longer_allows_it(
    mails: MailServer, connections: SmtpConnections
) -> None:
    login = {"smtp": SmtpCredential(host="127.0.0.1", port=mails.port, security="none")}
    send = email_plugins(None, connections, Desk())[0]
    await run(send, MAIL, credentials=login, allowed_hosts=(f"127.0.0.1:{mails.port}",))
    with pytest.raises(Permanent) as caught:
        await run(send, MAIL, credentials=login, allowed_hosts=("mail.example.com",))
    assert caught.value.type == "credential.hostNotAllowed"
    assert len(mails.mails) == 1
