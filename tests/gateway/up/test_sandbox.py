import asyncio
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import httpx
import pytest
from litestar import Litestar

from gateway.up.mail import Catcher, Mailbox
from gateway.up.sandbox import sandbox_app
from tests.gateway.application import asgi_transport


@pytest.fixture
def mailbox(tmp_path: Path) -> Mailbox:
    return Mailbox(tmp_path / "mail")


@pytest.fixture
async def smtp_port(mailbox: Mailbox) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(Catcher(mailbox).protocol, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def client(app: Litestar) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=asgi_transport(app), base_url="http://sandbox")


def a_mail(subject: str = "Prüfung: größer als 5 %") -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = "Jörg <joerg@example.com>"
    mail["To"] = "alerts@example.com"
    mail["Subject"] = subject
    mail["Message-ID"] = "<key-1@gateway.local>"
    mail.set_content("Guten Tag\nzweite Zeile")
    mail.add_alternative("<p>Guten Tag</p>", subtype="html")
    return mail


async def test_a_mail_sent_by_smtp_is_read_decoded_over_http(mailbox: Mailbox, smtp_port: int) -> None:
    await aiosmtplib.send(a_mail(), hostname="127.0.0.1", port=smtp_port, start_tls=False)
    async with client(sandbox_app(mailbox)) as http:
        answer = await http.get("/mail")
    (mail,) = answer.json()
    assert mail.pop("receivedAt").endswith("Z")
    assert mail == {
        "from": "Jörg <joerg@example.com>",
        "to": "alerts@example.com",
        "recipients": ["alerts@example.com"],
        "subject": "Prüfung: größer als 5 %",
        "text": "Guten Tag\nzweite Zeile",
        "html": "<p>Guten Tag</p>",
        "messageId": "<key-1@gateway.local>",
    }


async def test_mail_is_listed_newest_first_outlives_a_restart_and_can_be_emptied(
    mailbox: Mailbox, smtp_port: int, tmp_path: Path
) -> None:
    for number in range(3):
        await aiosmtplib.send(a_mail(f"mail {number}"), hostname="127.0.0.1", port=smtp_port, start_tls=False)
    reopened = Mailbox(tmp_path / "mail")
    assert [mail.subject for mail in reopened.newest_first()] == ["mail 2", "mail 1", "mail 0"]
    async with client(sandbox_app(reopened)) as http:
        assert (await http.delete("/mail")).status_code == 204
        assert (await http.get("/mail")).json() == []
    assert Mailbox(tmp_path / "mail").newest_first() == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no headers at all",
        b"Subject: =?unknown-charset?b?AAAA?=\r\n\r\nx",
        b"Content-Type: text/plain; charset=klingon\r\n\r\n\xff\xfe",
        b"Content-Type: multipart/mixed\r\n\r\nno boundary",
        b"From: <<>>,,@\r\nTo: \xff\xff\r\nMessage-ID: []\r\nX-Received-At: never\r\n\r\n\x00",
    ],
)
async def test_odd_messages_are_kept_and_shown(mailbox: Mailbox, raw: bytes, tmp_path: Path) -> None:
    await mailbox.keep("a@example.com\r\nX-Received-At: never", ["b@example.com"], raw)
    async with client(sandbox_app(Mailbox(tmp_path / "mail"))) as http:
        (mail,) = (await http.get("/mail")).json()
    assert mail["recipients"] == ["b@example.com"]


async def test_a_mail_that_cannot_be_stored_is_refused_for_now(
    mailbox: Mailbox, smtp_port: int, tmp_path: Path
) -> None:
    (tmp_path / "mail").rmdir()
    with pytest.raises(aiosmtplib.SMTPDataError) as refusal:
        await aiosmtplib.send(a_mail(), hostname="127.0.0.1", port=smtp_port, start_tls=False)
    assert refusal.value.code == 451


async def test_a_recorded_quote_is_served_and_an_unknown_symbol_is_not_found(mailbox: Mailbox) -> None:
    async with client(sandbox_app(mailbox)) as http:
        quote = (await http.get("/quotes/AAPL")).json()
        unknown = await http.get("/quotes/NOPE")
    assert quote.keys() == {"symbol", "price", "changePercent", "asOf"}
    assert quote["changePercent"] <= -5
    assert unknown.status_code == 404
    assert "NOPE" in unknown.json()["detail"]
