import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins import BasicCredential, BearerCredential, Secret, SmtpCredential
from plugins.host.scrub import Scrubber

secrets = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(secret=secrets, before=st.text(alphabet="<> "), after=st.text(alphabet="<> "))
def test_whatever_the_secret_none_of_its_forms_stays(secret: str, before: str, after: str) -> None:
    scrubber = Scrubber([BearerCredential(token=Secret(secret))])
    encoded = base64.b64encode(secret.encode()).decode()
    forms = [secret, encoded, quote(secret), quote_plus(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]]
    for form in forms:
        if form not in before + after + "***":
            assert form not in scrubber.text(f"{before}|{form}|{after}").replace("***", "")


@given(secret=secrets, value=st.recursive(st.text() | st.integers() | st.none(), st.lists))
def test_documents_stay_documents(secret: str, value: object) -> None:
    scrubber = Scrubber([BearerCredential(token=Secret(secret))])
    document = json.dumps({"value": value, "secret": secret}, ensure_ascii=False).encode()
    scrubbed = json.loads(scrubber.json(document))
    assert scrubbed["secret"] == (secret if len(secret) < 8 else "***")


def test_pairs_are_masked_as_the_protocols_carry_them() -> None:
    basic = BasicCredential(username="ada", password=Secret("pass word"))
    smtp = SmtpCredential(host="mail.example.com", port=25, username="ada", password=Secret("pass word"))
    assert Scrubber([basic]).text(f"Basic {base64.b64encode(b'ada:pass word').decode()}") == "Basic ***"
    plain = base64.b64encode(b"\0ada\0pass word").decode()
    assert Scrubber([smtp]).text(f"AUTH PLAIN {plain}") == "AUTH PLAIN ***"


def test_the_longest_form_is_masked_whole() -> None:
    credentials = [BearerCredential(token=Secret("abc")), BearerCredential(token=Secret("abcdef"))]
    assert Scrubber(credentials).text("abcdef abc") == "*** ***"


@pytest.mark.parametrize("text", ["", "nothing to hide"])
def test_without_secrets_nothing_changes(text: str) -> None:
    assert Scrubber().text(text) == text
    assert Scrubber([SmtpCredential(host="mail.example.com", port=25)]).text(text) == text
    assert Scrubber().json(b'{"a": 1}') == b'{"a": 1}'


def test_short_secrets_do_not_mangle_documents() -> None:
    scrubber = Scrubber([BearerCredential(token=Secret("test"))])
    assert scrubber.json(b'"a test"') == b'"a test"'
    assert scrubber.text("a test") == "a ***"
