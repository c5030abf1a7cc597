"""Attachments, given or fetched."""

import base64
from typing import Any

import pytest

from plugins import Permanent, PluginError, Transient
from plugins.builtin.email import attachments
from plugins.testing import run
from tests.plugins.builtin.email.posting import MAIL, sender_by
from tests.plugins.mail import MailServer, open_mail_server
from tests.plugins.target import Target


async def fail(mails: MailServer, *attached: dict[str, Any]) -> PluginError:
    with pytest.raises(PluginError) as caught:
        await run(sender_by(mails.port), MAIL | {"attachments": list(attached)})
    assert mails.mails == []
    return caught.value


async def test_a_file_is_given_or_fetched(mails: MailServer, target: Target) -> None:
    target.answer("/report", 200, b"%PDF", content_type="application/pdf; charset=x")
    target.answer("/odd", 200, b"?", content_type="no type")
    files = [
        {"filename": "report.pdf", "url": target.url + "/report"},
        {"filename": "odd", "url": target.url + "/odd"},
        {"filename": "named.bin", "url": target.url + "/report", "contentType": "application/x-named"},
        {"filename": "ä.csv", "text": "a;ü\n", "contentType": "text/csv"},
        {"filename": "raw", "content": base64.b64encode(b"\x00\xff").decode()},
    ]
    await run(sender_by(mails.port), MAIL | {"attachments": files})
    found = [(part.get_filename(), part.get_content_type()) for part in mails.mails[0].message.iter_attachments()]
    assert found == [
        ("report.pdf", "application/pdf"),
        ("odd", "application/octet-stream"),
        ("named.bin", "application/x-named"),
        ("ä.csv", "text/csv"),
        ("raw", "application/octet-stream"),
    ]
    contents = [part.get_payload(decode=True) for part in mails.mails[0].message.iter_attachments()]
    assert contents == [b"%PDF", b"?", b"%PDF", "a;ü\n".encode(), b"\x00\xff"]
    assert {request.method for request in target.requests} == {"GET"}


async def test_text_says_in_which_characters_it_is_written(mails: MailServer, target: Target) -> None:
    """A reader that is not told takes it for ASCII (RFC 2046, 4.1.2)."""
    target.answer("/old", 200, "prix;5 €\n".encode("cp1252"), content_type='text/csv; header=present; charset="CP1252"')
    target.answer("/odd", 200, b"a", content_type="text/plain; charset=no\tcharset")
    target.answer("/image", 200, b"png", content_type="image/png; charset=utf-8")
    files = [
        {"filename": "given.csv", "text": "prix;5 €\n", "contentType": "text/csv"},
        {"filename": "fetched.csv", "url": target.url + "/old"},
        {"filename": "named.tsv", "url": target.url + "/old", "contentType": "text/tab-separated-values"},
        {"filename": "odd", "url": target.url + "/odd"},
        {"filename": "image.png", "url": target.url + "/image"},
        {"filename": "data.json", "text": "{}", "contentType": "application/json"},
    ]
    await run(sender_by(mails.port), MAIL | {"attachments": files})
    parts = list(mails.mails[0].message.iter_attachments())
    assert [part.get_content_charset() for part in parts] == ["utf-8", "cp1252", "cp1252", None, None, None]
    assert [part.get_content() for part in parts[:3]] == ["prix;5 €\n"] * 3


@pytest.mark.parametrize(
    "filename",
    ["ä" * 200, "📄" * 255, "a" * 255, 'of "today"; x=1.pdf', "x'y%20.pdf", "報告書 2026 年.pdf"],
    ids=["long", "longest", "ascii", "quoted", "percent", "japanese"],
)
async def test_a_file_keeps_its_name_whatever_it_is(mails: MailServer, filename: str) -> None:
    await run(sender_by(mails.port), MAIL | {"attachments": [{"filename": filename, "text": "x"}]})
    (part,) = mails.mails[0].message.iter_attachments()
    assert part.get_filename() == filename


async def test_a_message_within_the_message_is_a_file_like_any_other(mails: MailServer, target: Target) -> None:
    """Such parts may not be encoded (RFC 2046, 5.1 and 5.2.1): readers would take them for a broken mail."""
    for type in ("multipart/mixed", "message/rfc822"):
        error = await fail(mails, {"filename": "a", "text": "x", "contentType": type})
        assert (error.type, error.message.startswith("/attachments/0/contentType")) == ("email.invalidAttachment", True)
    target.answer("/mail.eml", 200, b"Subject: x\r\n\r\n", content_type="message/rfc822")
    await run(
        sender_by(mails.port), MAIL | {"attachments": [{"filename": "mail.eml", "url": f"{target.url}/mail.eml"}]}
    )
    (part,) = mails.mails[0].message.iter_attachments()
    assert part.get_content_type() == "application/octet-stream"
    assert part.get_payload(decode=True) == b"Subject: x\r\n\r\n"


async def test_an_image_is_shown_within_the_html(mails: MailServer) -> None:
    logo = {"filename": "logo.png", "contentType": "image/png", "text": "png", "contentId": "logo"}
    config = MAIL | {"text": "hello", "html": '<img src="cid:logo">', "attachments": [logo]}
    await run(sender_by(mails.port), config)
    message = mails.mails[0].message
    assert message.get_content_type() == "multipart/alternative"
    related = [part for part in message.walk() if part.get_content_type() == "multipart/related"]
    image = [part for part in related[0].walk() if part.get_content_type() == "image/png"]
    assert (image[0]["Content-ID"], image[0].get_content_disposition()) == ("<logo>", "inline")


async def test_what_cannot_be_attached_is_named(mails: MailServer, target: Target) -> None:
    error = await fail(mails, {"filename": "a", "text": ""}, {"filename": "b", "content": "no base64!"})
    assert (error.type, error.message.startswith("/attachments/1/content")) == ("email.invalidAttachment", True)
    for given in ({}, {"text": "a", "content": "YQ=="}, {"text": "a", "url": target.url}):
        error = await fail(mails, {"filename": "a", **given})
        assert (error.type, "/attachments/0" in error.message) == ("email.invalidAttachment", True)


async def test_a_file_that_cannot_be_fetched_keeps_the_mail_back(mails: MailServer, target: Target) -> None:
    target.answer("/busy", 500)
    target.answer("/gone", 404)
    error = await fail(mails, {"filename": "a", "url": target.url + "/busy"})
    assert isinstance(error, Transient)
    assert (error.type, error.effect, error.message[:18]) == ("http.500", "none", "/attachments/0/url")
    error = await fail(mails, {"filename": "a", "url": target.url + "/gone"})
    assert (error.type, isinstance(error, Permanent)) == ("http.404", True)
    error = await fail(mails, {"filename": "a", "url": "http://169.254.169.254/latest/meta-data"})
    assert error.type == "egress.forbidden"


async def test_all_attachments_together_have_a_limit(
    mails: MailServer, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "MAX_ATTACHED", 1000)
    target.answer("/large", 200, b"x" * 600)
    given = {"filename": "a", "text": "y" * 600}
    fetched = {"filename": "b", "url": target.url + "/large"}
    for files in ((given, given), (given, fetched), (fetched, given), (fetched, fetched)):
        error = await fail(mails, *files)
        assert (error.type, "/attachments/1" in error.message) == ("email.tooLarge", True)


async def test_a_mail_has_twenty_attachments_at_the_most(mails: MailServer) -> None:
    error = await fail(mails, *([{"filename": "a", "text": ""}] * 21))
    assert (error.type, "/attachments" in error.message) == ("config.invalid", True)


async def test_a_server_that_takes_less_says_so_before_anything_is_sent() -> None:
    async with open_mail_server(most_bytes=2000) as small:
        error = await fail(small, {"filename": "a", "text": "y" * 4000})
        assert (error.type, isinstance(error, Permanent)) == ("smtp.552", True)
