"""URLs and host names, read strictly: what two readers could understand differently is refused."""

import re
from ipaddress import IPv4Address, IPv6Address

import httpx

from plugins.sdk.errors import Permanent

_PORTS = {"http": 80, "https": 443}

_FORM = re.compile(r"(?:http|https)://([^/?#]+)(?:[/?#].*)?", re.IGNORECASE | re.DOTALL)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]@:]+)(?::([0-9]{1,5}))?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# What looks like a dot, and is read as one by some: RFC 3490 §3.1.
_DOTS = re.compile("[\u3002\uff0e\uff61]")


def parse_url(text: str) -> httpx.URL:
    """Read an absolute http or https URL.

    Refused: a user name or password, control characters and backslashes, numbers that some readers take for an IPv4
    address (``0x7f.1``, ``2130706433``, ``127.1``), look-alike dots, zones, and ports outside 1 to 65535.

    Raises:
        Permanent: type ``egress.invalidUrl``; the message holds no more of the URL than its host.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise _invalid("it must be absolute and begin with http:// or https://")
    if _CONTROL.search(text):
        raise _invalid("it holds a control character or a backslash")
    authority = match[1]
    if "@" in authority:
        raise _invalid("it must not hold a user name or password; bind a credential instead")
    host, port = parse_authority(authority)
    try:
        # The host that was checked is the host that is used, however httpx would have read the text.
        return httpx.URL(text).copy_with(host=host, port=port, fragment=None)
    except (httpx.InvalidURL, ValueError):
        raise _invalid(f"it is malformed behind the host {host!r}") from None


def parse_authority(text: str) -> tuple[str, int | None]:
    """Read ``host`` or ``host:port``; the host comes back in lower case, IDNA-encoded, without brackets or last dot.

    Raises:
        Permanent: type ``egress.invalidUrl``.
    """
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise _invalid("what stands for the host is not a host name or address, with at most a port")
    port = None if match[2] is None else int(match[2])
    if port is not None and not 1 <= port <= 65535:
        raise _invalid(f"port {port} is not between 1 and 65535")
    return _host(match[1]), port


def host_of(url: httpx.URL) -> str:
    """Return the host of `url` in ASCII, as `parse_authority` gives it; `httpx.URL.host` decodes IDNA."""
    return url.raw_host.decode("ascii")


def port_of(url: httpx.URL) -> int:
    """Return the port that `url` names or its scheme implies."""
    return url.port or _PORTS[url.scheme]


def origin_of(url: httpx.URL) -> tuple[str, str, int]:
    """Return the origin of `url` (RFC 6454): scheme, host, port."""
    return url.scheme, host_of(url), port_of(url)


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            return str(IPv6Address(text[1:-1]))
        except ValueError:
            raise _invalid(f"{text!r} is not an IPv6 address") from None
    if _DOTS.search(text):
        raise _invalid("its host holds a character that looks like a dot")
    try:
        host = httpx.URL(scheme="http", host=text).raw_host.decode("ascii").removesuffix(".")
    except (httpx.InvalidURL, ValueError):
        raise _invalid("its host is not a valid host name") from None
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _invalid("its host is not a valid host name")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            IPv4Address(host)
        except ValueError:
            raise _invalid(f"{host!r} is not an IPv4 address of four decimal numbers") from None
    return host


def _invalid(reason: str) -> Permanent:
    return Permanent(f"this URL cannot be used: {reason}", type="egress.invalidUrl")
