import asyncio
import base64
import re
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies

from plugins import Permanent, Plugin, Secret, SmtpCredential, Transient
from plugins.builtin.email.connections import SmtpConnections
from plugins.builtin.email.desk import Desk
from plugins.builtin.email.mailbox import parse_mailboxes
from plugins.builtin.email.plugin import Email, email_plugins
from plugins.builtin.email.server import SmtpServer, parse_smtp_url
from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.sdk.conform import Nonconforming, conform
from tests.plugins.builtin.conftest import KEY, Run
from tests.plugins.builtin.email.posting import MAIL, server_at
from tests.plugins.certificates import tls_contexts
from tests.plugins.mail import MailServer, open_mail_server


def email_plugin(default: SmtpServer | None) -> Plugin:
    return email_plugins(default, SmtpConnections(idle=0), Desk())[0]


@pytest.fixture
async def local(authorities: ssl.SSLContext) -> AsyncIterator[EgressClient]:
    """A client that may reach every server of this machine."""
    client = EgressClient(Guard(allow=["127.0.0.0/8"]), tls=lambda: authorities)
    yield client
    await client.close()


async def test_a_mail_arrives_with_everything_in_it(run: Run, local: EgressClient, mails: MailServer) -> None:
    config = {
        "to": ["Ann Lee <ann@example.com>", "bob@example.com, cem@example.com"],
        "cc": "Zoë Ü <zoe@bücher.example>",
        "bcc": ["hidden@example.com", "ann@example.com"],
        "from": "Workflows <robot@example.com>",
        "replyTo": "help@example.com",
        "subject": "AAPL is down 5.5 % – Größe",
        "text": "plain\n.\nwith dots and ümlauts " + "long " * 400,
        "html": "<p>rich ü</p>",
        "attachments": [
            {"filename": "übersicht.csv", "contentType": "text/csv", "content": base64.b64encode(b"a;b\n").decode()},
            {"filename": "raw.bin", "content": base64.b64encode(bytes(range(256))).decode()},
        ],
    }
    output = await run(email_plugin(server_at(mails.port)), config, http=local)
    [mail] = mails.mails
    assert mail.sender == "robot@example.com"
    assert mail.recipients == [
        "ann@example.com",
        "bob@example.com",
        "cem@example.com",
        "zoe@xn--bcher-kva.example",
        "hidden@example.com",
    ]
    message = mail.message
    assert output == {"messageId": f"<{KEY}@example.com>", "refused": ()}
    assert message["Message-ID"] == output["messageId"]
    assert message["From"] == "Workflows <robot@example.com>"
    assert message["To"] == "Ann Lee <ann@example.com>, bob@example.com, cem@example.com"
    assert message["Cc"] == "Zoë Ü <zoe@xn--bcher-kva.example>"
    assert message["Bcc"] is None
    assert message["Reply-To"] == "help@example.com"
    assert message["Subject"] == config["subject"]
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime.tzinfo is not None
    assert b"hidden@example.com" not in mail.content
    assert mail.content.isascii()
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    assert text.get_content().split() == str(config["text"]).split()
    assert html.get_content().strip() == "<p>rich ü</p>"
    csv, raw = message.iter_attachments()
    assert (csv.get_filename(), csv.get_content_type()) == ("übersicht.csv", "text/csv")
    assert csv.get_payload(decode=True) == b"a;b\n"
    assert (raw.get_filename(), raw.get_content_type()) == ("raw.bin", "application/octet-stream")
    assert raw.get_payload(decode=True) == bytes(range(256))


@pytest.mark.parametrize(
    ("config", "content_type", "content"),
    [({}, "text/plain", ""), ({"text": "a"}, "text/plain", "a"), ({"html": "<b>a</b>"}, "text/html", "<b>a</b>")],
)
async def test_text_and_html_are_each_optional(
    run: Run, local: EgressClient, mails: MailServer, config: dict[str, str], content_type: str, content: str
) -> None:
    await run(email_plugin(server_at(mails.port)), MAIL | config, http=local)
    message = mails.mails[0].message
    assert message.get_content_type() == content_type
    assert message.get_content().strip() == content


async def test_every_attempt_has_the_same_message_id(run: Run, local: EgressClient, mails: MailServer) -> None:
    email_send = email_plugin(server_at(mails.port))
    for attempt in (1, 2):
        await run(email_send, MAIL, http=local, attempt=attempt)
    first, second = (mail.message["Message-ID"] for mail in mails.mails)
    assert first == second == f"<{KEY}@localhost>"


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "Hello\r\nBcc: victim@example.com"},
        {"subject": "Hello\nX: y"},
        {"subject": "Hello\rX: y"},
        {"subject": "Hello\x00"},
        {"subject": "Hello\u2028X: y"},
        {"to": "ann@example.com\r\nBcc: victim@example.com"},
        {"to": "Ann\r\nBcc: victim@example.com <ann@example.com>"},
        {"cc": ["ann@example.com\n"]},
        {"bcc": "ann@example.com>\r\nRCPT TO:<victim@example.com"},
        {"from": "robot@example.com\r\nSubject: other"},
        {"replyTo": "a@example.com\r\nX: y"},
        {"attachments": [{"filename": 'a"\r\nX: y', "content": ""}]},
    ],
)
async def test_no_field_can_break_out_of_its_header(
    run: Run, local: EgressClient, mails: MailServer, change: dict[str, Any]
) -> None:
    with pytest.raises(Permanent) as caught:
        await run(email_plugin(server_at(mails.port)), MAIL | change, http=local)
    assert caught.value.type == "email.invalidHeader"
    assert caught.value.message.startswith(f"/{next(iter(change))}")
    assert "victim" not in caught.value.message
    assert mails.mails == []


@pytest.mark.parametrize(
    "address",
    [
        "nobody",
        "@example.com",
        "ann@",
        "ann@@example.com",
        "ann@exa mple.com",
        "ann@example..com",
        "ann@-example.com",
        "ann@[127.0.0.1]",
        "a\u00a0b@example.com",
        "ann@example.com>",
        "<ann@example.com",
        "ann@example.com, nobody",
        ",",
        "a" * 65 + "@example.com",
        "ann@" + "a" * 64 + ".com",
        '"ann b"@example.com',
    ],
)
async def test_an_address_that_cannot_be_read_is_named(
    run: Run, local: EgressClient, mails: MailServer, address: str
) -> None:
    with pytest.raises(Permanent) as caught:
        await run(email_plugin(server_at(mails.port)), MAIL | {"cc": address}, http=local)
    assert caught.value.type == "email.invalidAddress"
    assert " at /cc is not" in caught.value.message
    assert mails.mails == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ann@example.com", "ann@example.com"),
        (" Ann <ann@example.com> , ", "Ann <ann@example.com>"),
        ('"Lee, Ann" <ann+tag@example.com>', '"Lee, Ann" <ann+tag@example.com>'),
        ("J. Lee <j.lee@example.com>", '"J. Lee" <j.lee@example.com>'),
        ("ann@EXAMPLE.com (Ann)", "ann@example.com"),
        ("o'neil@sub.example.co.uk", "o'neil@sub.example.co.uk"),
    ],
)
def test_an_address_is_read_as_people_write_it(text: str, expected: str) -> None:
    [mailbox] = parse_mailboxes(text, "to")
    assert str(mailbox) == expected


@given(strategies.text(alphabet=strategies.sampled_from("ab.@<>,;:()[]\"\\ =?é-\t'%"), max_size=40))
def test_whatever_is_read_as_an_address_is_one(text: str) -> None:
    """No text crashes the reader, and what comes out is fit for an SMTP command."""
    try:
        mailboxes = parse_mailboxes(text, "to")
    except Permanent:
        return
    for mailbox in mailboxes:
        assert re.fullmatch(r"[!-~é]+@[A-Za-z0-9.-]+", mailbox.addr_spec)
        assert not {"<", ">", " ", ",", '"', "\\"} & set(mailbox.addr_spec)


async def test_a_mail_needs_a_recipient_and_has_no_more_than_a_hundred(
    run: Run, local: EgressClient, mails: MailServer
) -> None:
    many = [f"r{n}@example.com, s{n}@example.com" for n in range(50)]
    changes: tuple[dict[str, Any], ...] = ({"to": []}, {"bcc": many})
    for change in changes:
        with pytest.raises(Permanent) as caught:
            await run(email_plugin(server_at(mails.port)), MAIL | change, http=local)
        assert caught.value.type == "email.invalidRecipients"


async def test_an_attachment_that_is_not_base64_is_named(run: Run, local: EgressClient, mails: MailServer) -> None:
    config = MAIL | {"attachments": [{"filename": "a.txt", "content": "not base64!"}]}
    with pytest.raises(Permanent, match=r"a\.txt") as caught:
        await run(email_plugin(server_at(mails.port)), config, http=local)
    assert caught.value.type == "email.invalidAttachment"


async def test_the_servers_answer_to_the_content_decides(run: Run, local: EgressClient, mails: MailServer) -> None:
    mails.answers += ["451 try later", "554 looks like spam", None, "250 OK"]
    email_send = email_plugin(server_at(mails.port))
    with pytest.raises(Transient) as later:
        await run(email_send, MAIL, http=local)
    assert (later.value.type, later.value.effect) == ("smtp.451", "none")
    with pytest.raises(Permanent, match="looks like spam") as refused:
        await run(email_send, MAIL, http=local)
    assert refused.value.type == "smtp.554"
    with pytest.raises(Transient) as lost:
        await run(email_send, MAIL, http=local)
    assert (lost.value.type, lost.value.effect) == ("network.reset", "unknown")
    await run(email_send, MAIL, http=local)
    assert len(mails.mails) == 1


async def test_a_server_that_is_down_or_hangs_up_early_had_no_effect(run: Run, local: EgressClient) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def busy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"421 too busy\r\n")
        writer.close()

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(Transient) as caught:
            await run(email_plugin(server_at(closed.getsockname()[1])), MAIL, http=local)
    assert (caught.value.type, caught.value.effect) == ("network.refused", "none")
    for handler, expected in ((hang_up, "network.reset"), (busy, "smtp.421")):
        async with await asyncio.start_server(handler, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(Transient) as caught:
                await run(email_plugin(server_at(port)), MAIL, http=local)
        assert (caught.value.type, caught.value.effect) == (expected, "none")


async def test_a_mail_server_is_guarded_like_any_other(run: Run, egress: EgressClient, mails: MailServer) -> None:
    with pytest.raises(Permanent) as caught:
        await run(email_plugin(server_at(mails.port)), MAIL, http=egress)
    assert caught.value.type == "egress.forbidden"


async def test_without_any_server_it_asks_for_a_credential(run: Run) -> None:
    with pytest.raises(Permanent, match="smtp credential") as caught:
        await run(email_plugin(None), MAIL)
    assert caught.value.type == "credential.missing"


async def test_starttls_and_a_login(run: Run, tmp_path: Path) -> None:
    server, trusting = tls_contexts(tmp_path)
    client = EgressClient(Guard(allow=["127.0.0.0/8"]), tls=lambda: trusting)
    async with open_mail_server(starttls=server) as mails:
        mails.users["ann@example.com"] = "s3cr3t ü"

        def bound(password: str, security: Any = "starttls") -> dict[str, SmtpCredential]:
            return {
                "smtp": SmtpCredential(
                    host="127.0.0.1",
                    port=mails.port,
                    username="ann@example.com",
                    password=Secret(password),
                    security=security,
                )
            }

        await run(email_plugin(server_at(1)), MAIL, http=client, credentials=bound("s3cr3t ü"))
        [mail] = mails.mails
        assert (mail.user, mail.encrypted, mail.sender) == ("ann@example.com", True, "ann@example.com")
        with pytest.raises(Permanent) as caught:
            await run(email_plugin(None), MAIL, http=client, credentials=bound("s3cr3t wrong"))
        assert (caught.value.type, caught.value.status) == ("smtp.authentication", 535)
        assert "s3cr3t" not in str(caught.value)
        with pytest.raises(Permanent) as caught:
            await run(email_plugin(None), MAIL, http=client, credentials=bound("s3cr3t ü", "none"))
        assert caught.value.type == "smtp.authentication"
    await client.close()


async def test_tls_from_the_first_byte(run: Run, tmp_path: Path) -> None:
    server, trusting = tls_contexts(tmp_path)
    client = EgressClient(Guard(allow=["127.0.0.0/8"]), tls=lambda: trusting)
    async with open_mail_server(tls=server) as mails:
        await run(email_plugin(server_at(mails.port, security="tls")), MAIL, http=client)
        assert mails.mails[0].encrypted
    await client.close()


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_certificate_that_is_not_trusted_gets_no_mail(
    run: Run, local: EgressClient, tmp_path: Path, security: Any
) -> None:
    context, _ = tls_contexts(tmp_path)
    tls: dict[str, Any] = {security: context}
    async with open_mail_server(**tls) as mails:
        with pytest.raises(Permanent) as caught:
            await run(email_plugin(server_at(mails.port, security=security)), MAIL, http=local)
        assert caught.value.type == "smtp.untrusted"
        assert mails.mails == []


async def test_starttls_is_never_given_up(run: Run, local: EgressClient, mails: MailServer) -> None:
    """A server that offers none, or somebody in between who took the offer out, gets neither password nor mail."""
    with pytest.raises(Permanent) as caught:
        await run(email_plugin(server_at(mails.port, security="starttls")), MAIL, http=local)
    assert caught.value.type == "smtp.noTls"
    assert mails.mails == []


@pytest.mark.parametrize(
    ("url", "host", "port", "username", "password", "security", "sender"),
    [
        ("smtp://127.0.0.1:1025", "127.0.0.1", 1025, None, None, "none", "no-reply@localhost"),
        ("smtp://mail", "mail", 25, None, None, "none", "no-reply@mail"),
        ("smtp://[::1]:25/", "::1", 25, None, None, "none", "no-reply@localhost"),
        ("smtps://mail.test", "mail.test", 465, None, None, "tls", "no-reply@mail.test"),
        ("smtp+starttls://u%40x.test:p%3A%2F@mail.test", "mail.test", 587, "u@x.test", "p:/", "starttls", "u@x.test"),
        ("smtps://u:p@mail.test:1?from=a%40b.test", "mail.test", 1, "u", "p", "tls", "a@b.test"),
    ],
)
def test_a_mail_server_is_read_from_a_url(
    url: str, host: str, port: int, username: str | None, password: str | None, security: str, sender: str
) -> None:
    server = parse_smtp_url(url)
    credential = server.credential
    assert (credential.host, credential.port, credential.username) == (host, port, username)
    assert (credential.password.reveal() if credential.password else None) == password
    assert (credential.security, server.default_sender) == (security, sender)


@pytest.mark.parametrize(
    "url",
    ["", "mail.test", "http://mail.test", "smtp://", "smtp://m:99999", "smtp://m:p:x", "smtp://m/x", "smtp://m?to=a"],
)
def test_a_url_of_another_form_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="smtp://host:port"):
        parse_smtp_url(url.replace("m", "u:s3cr3t@m", 1) if url.startswith("smtp://m") else url)


def test_an_empty_subject_or_an_unknown_key_shows_at_save() -> None:
    assert conform(Email, {"to": "a@b.test", "subject": ""}).subject == ""
    for wrong in ({"subject": "x"}, {"to": "a@b.test"}, {**MAIL, "body": "x"}, {**MAIL, "to": 5}, {**MAIL, "to": ""}):
        with pytest.raises(Nonconforming):
            conform(Email, wrong)
