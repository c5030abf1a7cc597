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


async def test_a_server_that_takes_less_says_so_before_anything_is_sent() -> None:
    async with open_mail_server(most_bytes=2000) as small:
        error = await fail(small, {"filename": "a", "text": "y" * 4000})
        assert (error.type, isinstance(error, Permanent)) == ("smtp.552", True)
