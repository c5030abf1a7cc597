"""Whom a server refuses for now is tried again, alone; whom it refuses for good is told; nobody gets a mail twice."""

from typing import Any

import pytest

from plugins import Permanent, Transient
from plugins.testing import run
from tests.plugins.builtin.email.posting import MAIL, sender_by
from tests.plugins.mail import MailServer, open_mail_server

THREE = MAIL | {"to": ["ann@example.com", "bob@example.com"], "bcc": "cem@example.com"}


async def test_those_refused_for_good_are_told_and_the_others_have_it(mails: MailServer) -> None:
    mails.refusals["bob@example.com"] = "550 no such user"
    outcome = await run(sender_by(mails.port), THREE)
    assert mails.mails[0].recipients == ["ann@example.com", "cem@example.com"]
    assert outcome.output["refused"] == [{"address": "bob@example.com", "status": 550, "message": "no such user"}]


async def test_when_all_are_refused_it_fails_and_nothing_was_sent(mails: MailServer) -> None:
    for name in ("ann", "bob", "cem"):
        mails.refusals[f"{name}@example.com"] = "550 no such user"
    with pytest.raises(Permanent, match=r"550 for ann@example\.com, and 2 more: no such user") as refused:
        await run(sender_by(mails.port), THREE)
    assert refused.value.type == "smtp.550"
    mails.refusals["cem@example.com"] = "450 greylisted"
    with pytest.raises(Transient, match=r"450 for cem@example\.com: greylisted") as later:
        await run(sender_by(mails.port), THREE)
    assert (later.value.type, later.value.effect) == ("smtp.450", "none")
    assert mails.mails == []


async def test_those_refused_for_now_are_tried_again_alone(mails: MailServer) -> None:
    mails.refusals |= {"ann@example.com": "550 no such user", "bob@example.com": "451 later"}
    saved: list[Any] = []
    with pytest.raises(Transient, match="1 others have it") as later:
        await run(sender_by(mails.port), THREE, on_checkpoint=saved.append)
    assert (later.value.type, later.value.effect) == ("smtp.451", "unknown")
    with pytest.raises(Transient):
        await run(sender_by(mails.port), THREE, checkpoint=saved[-1], attempt=2, on_checkpoint=saved.append)
    assert len(saved) == 1, "nothing new to keep"
    del mails.refusals["bob@example.com"]
    outcome = await run(sender_by(mails.port), THREE, checkpoint=saved[-1], attempt=3)
    assert [mail.recipients for mail in mails.mails] == [["cem@example.com"], ["bob@example.com"]]
    assert [refusal["address"] for refusal in outcome.output["refused"]] == ["ann@example.com"]
    assert len({mail.message["Message-ID"] for mail in mails.mails}) == 1
    assert mails.mails[1].message["To"] == "ann@example.com, bob@example.com", "the mail is the same for everybody"


async def test_refused_for_good_after_others_had_it_is_a_result(mails: MailServer) -> None:
    mails.refusals["bob@example.com"] = "451 later"
    saved: list[Any] = []
    with pytest.raises(Transient):
        await run(sender_by(mails.port), THREE, on_checkpoint=saved.append)
    mails.refusals["bob@example.com"] = "550 no"
    outcome = await run(sender_by(mails.port), THREE, checkpoint=saved[-1], attempt=2)
    assert (len(mails.mails), outcome.output["refused"][0]["status"]) == (1, 550)


async def test_a_server_that_takes_leave_in_between_has_taken_nothing(mails: MailServer) -> None:
    mails.refusals["bob@example.com"] = "421 closing"
    with pytest.raises(Transient) as caught:
        await run(sender_by(mails.port), THREE)
    assert (caught.value.type, caught.value.effect, mails.mails) == ("smtp.421", "none", [])


async def test_addresses_beyond_ascii_reach_servers_that_take_them(mails: MailServer) -> None:
    config = {"to": ["用户@例え.jp", "Zoë <zoë@bücher.example>"], "subject": "Grüße", "text": "ü"}
    await run(sender_by(mails.port), config | {"from": "robot@straße.example"})
    [mail] = mails.mails
    assert mail.recipients == ["用户@xn--r8jz45g.jp", "zoë@xn--bcher-kva.example"]
    assert mail.sender == "robot@xn--strae-oqa.example", "by IDNA 2008, where ß stays itself"
    assert mail.message["To"] == "用户@xn--r8jz45g.jp, Zoë <zoë@xn--bcher-kva.example>"
    assert mail.message["Subject"] == "Grüße"
    async with open_mail_server(utf8=False) as old:
        with pytest.raises(Permanent) as caught:
            await run(sender_by(old.port), config)
        assert (caught.value.type, old.mails) == ("smtp.noUtf8", [])
        await run(sender_by(old.port), config | {"to": "Zoë <zoe@bücher.example>"})
        assert old.mails[0].content.isascii()


async def test_bounces_go_where_they_are_wanted_and_lists_can_be_left(mails: MailServer) -> None:
    config = MAIL | {"from": "News <news@example.com>", "returnPath": "bounces@example.com"}
    await run(sender_by(mails.port), config | {"unsubscribeUrl": "https://example.com/leave?me=1"})
    [mail] = mails.mails
    assert (mail.sender, mail.message["From"]) == ("bounces@example.com", "News <news@example.com>")
    assert mail.message["List-Unsubscribe"] == "<https://example.com/leave?me=1>"
    assert mail.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    for wrong in ("https://x\r\nBcc: a@b.test", "http://example.com", "https://a>, <mailto:b@c.test"):
        with pytest.raises(Permanent) as caught:
            await run(sender_by(mails.port), config | {"unsubscribeUrl": wrong})
        assert caught.value.type == "config.invalid"
