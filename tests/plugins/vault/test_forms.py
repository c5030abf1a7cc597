from typing import Any

import pytest

from plugins.vault.forms import TYPES, faults_of, is_host

GOOD: dict[str, dict[str, Any]] = {
    "bearer": {"token": "t0k3n"},
    "basic": {"username": "ada", "password": "pass word"},
    "apiKey": {"name": "X-Api-Key", "value": "k3y", "in": "query"},
    "smtp": {"host": "mail.example.com", "port": 587, "username": "ada", "password": "p", "security": "tls"},
    "signing": {"secret": "whsec_c2VjcmV0"},
    "oauth2": {
        "grantType": "authorization_code",
        "tokenUrl": "https://id.example.com/token",
        "authorizationUrl": "https://id.example.com/authorize?prompt=consent",
        "clientId": "gateway",
        "clientSecret": "s3cret",
        "scopes": ["read", "https://example.com/mail.send"],
        "audience": "https://api.example.com",
    },
    "database": {"url": "postgresql://ada:pass%20word@db.example.com:5432/shop"},
}


AT_BOTH_URLS = ["/data/authorizationUrl", "/data/tokenUrl"]


def pointers(
    type: str, data: Any, *, name: Any = "n", hosts: tuple[Any, ...] = (), plugins: tuple[Any, ...] = ()
) -> list[str]:
    return sorted(
        fault.pointer
        for fault in faults_of(type=type, name=name, data=data, allowed_hosts=hosts, allowed_plugins=plugins)
    )


@pytest.mark.parametrize("type", TYPES)
def test_good_data_of_every_type_is_accepted(type: str) -> None:
    assert pointers(type, GOOD[type], hosts=("api.example.com:443", "10.0.0.1", "[::1]:80"), plugins=("a.b",)) == []


@pytest.mark.parametrize("type", TYPES)
def test_every_missing_and_every_unknown_key_is_found_at_once(type: str) -> None:
    required = {"bearer": 1, "basic": 2, "apiKey": 2, "smtp": 2, "signing": 1, "oauth2": 4, "database": 1}[type]
    found = pointers(type, {"odd": 1, "a/b": 2})
    assert {"/data/odd", "/data/a~1b"} < set(found)
    assert len(found) == required + 2


@pytest.mark.parametrize(
    ("type", "change", "expected"),
    [
        ("bearer", {"token": ""}, ["/data/token"]),
        ("bearer", {"token": "a\r\nX-Evil: 1"}, ["/data/token"]),
        ("bearer", {"token": 5}, ["/data/token"]),
        ("bearer", {"type": "basic"}, ["/data/type"]),
        ("basic", {"username": "a:b"}, ["/data/username"]),
        ("basic", {"username": "a\n", "password": "b\x00"}, ["/data/password", "/data/username"]),
        ("apiKey", {"name": "X Key", "in": "cookie"}, ["/data/in"]),
        ("apiKey", {"name": "X Key"}, ["/data/name"]),
        ("smtp", {"port": 0}, ["/data/port"]),
        ("smtp", {"port": "25", "security": "ssl"}, ["/data/port", "/data/security"]),
        ("smtp", {"host": "mail.example.com:25"}, ["/data/host"]),
        ("smtp", {"password": None}, ["/data/password"]),
        ("smtp", {"username": None, "password": None}, []),
        ("signing", {"secret": ""}, ["/data/secret"]),
        ("database", {"url": "sqlite:////etc/passwd"}, ["/data/url"]),
        ("database", {"url": "postgresql://db.example.com"}, ["/data/url"]),
        ("database", {"url": "postgresql:///shop?host=/tmp"}, ["/data/url"]),
        ("oauth2", {"tokenUrl": "http://id.example.com/token"}, ["/data/tokenUrl"]),
        ("oauth2", {"tokenUrl": "http://127.0.0.1:9/token"}, []),
        (
            "oauth2",
            {"tokenUrl": "https://ada:pw@id.example.com/", "clientId": "a\n"},
            ["/data/clientId", "/data/tokenUrl"],
        ),
        ("oauth2", {"tokenUrl": "id.example.com", "authorizationUrl": "file:///etc/passwd"}, AT_BOTH_URLS),
        ("oauth2", {"authorizationUrl": None}, ["/data/authorizationUrl"]),
        ("oauth2", {"authorizationUrl": None, "refreshToken": "r"}, []),
        ("oauth2", {"grantType": "password"}, ["/data/grantType"]),
        ("oauth2", {"grantType": "client_credentials", "refreshToken": "r"}, ["/data/refreshToken"]),
        ("oauth2", {"expiresAt": "2030-01-01T00:00:00Z"}, ["/data/expiresAt"]),
        ("oauth2", {"expiresAt": "2030-01-01T00:00:00", "accessToken": "a"}, ["/data/expiresAt"]),
        ("oauth2", {"expiresAt": "2030-01-01T00:00:00Z", "accessToken": "a"}, []),
        ("oauth2", {"accessToken": "a\r\n", "refreshToken": ""}, ["/data/accessToken", "/data/refreshToken"]),
        ("oauth2", {"scopes": ["read write", "a", 'b"']}, ["/data/scopes/0", "/data/scopes/2"]),
        ("database", {"url": "mysql://ada:pw@db.example.com/shop"}, ["/data/url"]),
        ("database", {"url": "postgresql:///shop"}, ["/data/url"]),
        ("database", {"url": "postgresql://db.example.com:99999/shop"}, ["/data/url"]),
        ("database", {"url": "postgresql://db.example.com/shop\n"}, ["/data/url"]),
    ],
)
def test_bad_data_is_refused_where_it_is_bad(type: str, change: dict[str, Any], expected: list[str]) -> None:
    assert pointers(type, GOOD[type] | change) == expected


@pytest.mark.parametrize("data", [None, [], "text", 5])
def test_data_that_is_no_object_is_one_fault(data: Any) -> None:
    assert pointers("bearer", data) == ["/data"]


def test_an_unknown_type_names_the_known_ones() -> None:
    (fault,) = faults_of(type="magic", name="n", data={}, allowed_hosts=(), allowed_plugins=())
    assert fault.pointer == "/type"
    assert all(type in fault.detail for type in TYPES)


def test_faults_of_all_parts_come_together() -> None:
    found = pointers("bearer", {}, name=" ", hosts=("ok.example", "http://no", "no:99999"), plugins=("No Plugin",))
    assert found == ["/allowedHosts/1", "/allowedHosts/2", "/allowedPlugins/0", "/data/token", "/name"]


def test_no_fault_repeats_a_value() -> None:
    canary = "canary\n"
    for type in TYPES:
        data = dict.fromkeys(GOOD[type], canary)
        faults = list(faults_of(type=type, name=canary * 100, data=data, allowed_hosts=(canary,), allowed_plugins=()))
        assert faults
        assert "canary" not in repr(faults)


@pytest.mark.parametrize("text", ["", "a b", "http://a", "a/b", "a:", "a:0", "a:x", "-a", "a@b", "[::1", "é.example"])
def test_what_is_no_host_is_refused(text: str) -> None:
    assert not is_host(text)
