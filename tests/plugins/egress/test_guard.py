import pytest

from plugins.egress.addresses import is_public, parse_address
from plugins.egress.guard import Guard
from plugins.sdk.errors import Permanent

PUBLIC = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 168.63.129.15
168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0
192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255 203.0.112.255
203.0.114.0 223.255.255.255 2001:4860:4860::8888 2606:4700::1111 2a00:1450:4001:81b::200e 2001:200::1 2620:fe::fe
::ffff:8.8.8.8 64:ff9b::8.8.8.8 2a00:1450:4001::5efe:808:808
"""

CLOSED = """
0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.100.100.200 100.127.255.255 127.0.0.1 127.255.255.255
168.63.129.16 169.254.0.0 169.254.169.254 172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.9 192.0.0.192 192.0.2.1
192.88.99.1 192.168.0.0 192.168.255.255 198.18.0.0 198.19.255.255 198.51.100.1 203.0.113.255 224.0.0.0
239.255.255.255 240.0.0.0 255.255.255.255 :: ::1 ::2 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1
::ffff:0:8.8.8.8 64:ff9b::10.0.0.1 64:ff9b::169.254.169.254 64:ff9b:1::8.8.8.8 100::1 2001::1 2001:1::1 2001:2::1
2001:20::1 2001:db8::1 2002:808:808::1 2002:7f00:1::1 3ffe::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fd20:ce::254
fe80::1 fe80::5efe:8.8.8.8 febf::1 fec0::1 feff::1 ff00::1 ff02::fb ff0e::1 2a00:1450:4001::5efe:10.0.0.1
2a00:1450:4001::200:5efe:192.168.0.1 4000::1 8000::1
"""


@pytest.mark.parametrize("text", PUBLIC.split())
def test_these_addresses_are_public(text: str) -> None:
    assert is_public(parse_address(text))


@pytest.mark.parametrize("text", CLOSED.split())
def test_these_addresses_are_closed(text: str) -> None:
    assert not is_public(parse_address(text))


def passes(guard: Guard, host: str, port: int, address: str) -> bool:
    try:
        guard.check(host, port, parse_address(address))
    except Permanent as error:
        return error.type != "egress.forbidden"
    return True


@pytest.mark.parametrize(
    ("entry", "host", "port", "address", "expected"),
    [
        ("10.0.0.0/8", "x.test", 1, "10.9.9.9", True),
        ("10.0.0.0/8", "x.test", 1, "::ffff:10.9.9.9", True),
        ("10.0.0.0/8", "x.test", 1, "11.0.0.1", True),
        ("10.0.0.0/8", "x.test", 1, "192.168.0.1", False),
        ("10.0.0.7/8", "x.test", 1, "10.9.9.9", True),
        ("10.0.0.7", "x.test", 1, "10.0.0.7", True),
        ("10.0.0.7", "x.test", 1, "10.0.0.8", False),
        (" 10.0.0.7:80 ", "x.test", 80, "10.0.0.7", True),
        ("10.0.0.7:80", "x.test", 81, "10.0.0.7", False),
        ("fd00::/8", "x.test", 1, "fd12::1", True),
        ("fd00::7", "x.test", 1, "fd00::7", True),
        ("[fd00::7]:80", "x.test", 80, "fd00::7", True),
        ("[fd00::7]:80", "x.test", 81, "fd00::7", False),
        ("quotes.internal:80", "quotes.internal", 80, "10.0.0.7", True),
        ("Quotes.Internal.:80", "quotes.internal", 80, "10.0.0.7", True),
        ("quotes.internal:80", "other.internal", 80, "10.0.0.7", False),
        ("quotes.internal:80", "quotes.internal", 81, "10.0.0.7", False),
        ("quotes.internal", "quotes.internal", 81, "10.0.0.7", True),
        (".internal:80", "quotes.internal", 80, "10.0.0.7", True),
        (".Internal.", "a.quotes.internal", 1, "10.0.0.7", True),
        (".quotes.internal", "quotes.internal", 1, "10.0.0.7", True),
        (".quotes.internal", "otherquotes.internal", 1, "10.0.0.7", False),
        (".internal:80", "quotes.internal", 81, "10.0.0.7", False),
        ("localhost:80", "127.0.0.1", 80, "127.0.0.1", True),
        ("127.0.0.1:80", "localhost", 80, "::1", True),
        ("127.0.0.1:80", "localhost", 80, "127.0.0.2", False),
        ("127.0.0.0/8", "localhost", 80, "::1", True),
    ],
)
def test_an_entry_opens_what_it_names_and_no_more(
    entry: str, host: str, port: int, address: str, expected: bool
) -> None:
    assert passes(Guard(allow=[entry]), host, port, address) is expected


def test_a_denied_entry_wins() -> None:
    guard = Guard(allow=["10.0.0.0/8"], deny=["10.0.0.7", "8.8.8.0/24", "blocked.test", "mail.test:25", ".corp.test"])
    assert passes(guard, "x.test", 80, "10.0.0.8")
    assert passes(guard, "x.test", 80, "8.8.4.4")
    assert passes(guard, "mail.test", 587, "8.8.4.4")
    for host, port, address in (
        ("x.test", 80, "10.0.0.7"),
        ("x.test", 80, "8.8.8.8"),
        ("x.test", 80, "::ffff:8.8.8.8"),
        ("x.test", 80, "64:ff9b::8.8.8.8"),
        ("blocked.test", 80, "8.8.4.4"),
        ("mail.test", 25, "8.8.4.4"),
        ("corp.test", 443, "8.8.4.4"),
        ("a.b.corp.test", 443, "8.8.4.4"),
    ):
        assert not passes(guard, host, port, address)
        with pytest.raises(Permanent, match="denies"):
            guard.check(host, port, parse_address(address))


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "10.0.0.0/33",
        "a b",
        "host:0",
        "host:99999",
        "host:",
        ":80",
        "http://host",
        "*.test",
        "127.1",
        "a:b:c",
        ".",
        ".10.0.0.7",
        "..test",
    ],
)
def test_an_entry_that_cannot_be_read_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match="neither a network") as caught:
        Guard(allow=[entry])
    assert repr(entry) in str(caught.value)


def test_a_connection_back_into_this_machine_is_refused_unless_named() -> None:
    """A public address of the machine itself leads to whatever listens on it."""
    mine = parse_address("8.8.4.4")
    with pytest.raises(Permanent, match="not on the public internet"):
        Guard().check_peer("8.8.4.4", 80, mine, "8.8.4.4", "8.8.4.4")
    Guard(allow=["8.8.4.4:80"]).check_peer("8.8.4.4", 80, mine, "8.8.4.4", "8.8.4.4")
    Guard().check_peer("8.8.4.4", 80, mine, "10.0.0.2", "8.8.4.4")


def test_a_peer_other_than_the_checked_address_is_refused() -> None:
    with pytest.raises(Permanent):
        Guard().check_peer("a.test", 80, parse_address("8.8.8.8"), "10.0.0.2", "127.0.0.1")
