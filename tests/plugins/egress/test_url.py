import re

import pytest
from hypothesis import example, given, strategies

from plugins.egress.url import host_of, parse_authority, parse_url, port_of
from plugins.sdk.errors import Permanent


@pytest.mark.parametrize(
    ("text", "expected", "port"),
    [
        ("http://example.com", "http://example.com", 80),
        ("HTTPS://EXAMPLE.com:443/", "https://example.com/", 443),
        ("https://example.com./a", "https://example.com/a", 443),
        ("http://example.com:8080/a/../b", "http://example.com:8080/b", 8080),
        ("https://example.com/a b?q=x y&z=é#part", "https://example.com/a%20b?q=x%20y&z=%C3%A9", 443),
        ("https://example.com?q=a@b:c", "https://example.com?q=a@b:c", 443),
        ("https://example.com/@user:pass", "https://example.com/@user:pass", 443),
        ("http://a_b.internal-1.example/", "http://a_b.internal-1.example/", 80),
        ("http://8.8.8.8/", "http://8.8.8.8/", 80),
        ("http://[2001:0DB8::0001]:8080/", "http://[2001:db8::1]:8080/", 8080),
        ("https://bücher.example/", "https://xn--bcher-kva.example/", 443),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/", 443),
        ("http://3com.com/", "http://3com.com/", 80),
        ("http://1.2.3.4.example/", "http://1.2.3.4.example/", 80),
        ("http://0x7f.example/", "http://0x7f.example/", 80),
    ],
)
def test_a_url_has_one_form(text: str, expected: str, port: int) -> None:
    url = parse_url(text)
    assert str(url) == expected
    assert port_of(url) == port


# Pieces of which confusing URLs are made; the corpus of whole ones is in `test_hostile`.
CHARACTERS = "0123456789abcfx.:/@#?[]%\\-_ \t\r\n\x00~;,&=+$!'()*|^`{}<>\"é。．①\u00ad\u200b\ud800"
WORDS = [
    "http://",
    "https://",
    "//",
    "\\\\",
    "127.0.0.1",
    "localhost",
    "::1",
    "example.com",
    "0x",
    "%2e",
    "%00",
    "xn--",
]
PIECES = strategies.sampled_from([*CHARACTERS, *WORDS])


@given(strategies.lists(PIECES, max_size=12).map("".join))
@example("http://" + "a" * 70_000)
@example("http://" + "1" * 5_000)
@example("http://[" + ":" * 100 + "]")
@example("http://example.com:" + "9" * 5_000)
def test_whatever_is_read_as_a_url_has_a_plain_host_and_port(text: str) -> None:
    """No text raises anything but `Permanent`, and reading the result again gives the same."""
    for candidate in (text, f"http://{text}", f"https://example.com{text}"):
        try:
            url = parse_url(candidate)
        except Permanent as error:
            assert error.type == "egress.invalidUrl"  # noqa: PT017 - both ways are right
            continue
        assert url.scheme in ("http", "https")
        assert re.fullmatch(r"[0-9a-f:.]+|[a-z0-9_-]+(\.[a-z0-9_-]+)*", host_of(url))
        assert 1 <= port_of(url) <= 65535
        assert not url.userinfo
        assert str(parse_url(str(url))) == str(url)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Example.COM", ("example.com", None)),
        ("example.com.:80", ("example.com", 80)),
        ("[::1]:80", ("::1", 80)),
        ("[0:0:0:0:0:0:0:1]", ("::1", None)),
        ("127.0.0.1:65535", ("127.0.0.1", 65535)),
    ],
)
def test_an_authority_is_a_host_and_perhaps_a_port(text: str, expected: tuple[str, int | None]) -> None:
    assert parse_authority(text) == expected
