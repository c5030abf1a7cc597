"""Request headers: which are refused, and which follow a redirect to another origin."""

import re
from collections.abc import Mapping

from plugins.sdk.errors import Permanent

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Visible characters, spaces and tabs of one line (RFC 9110 §5.5); nothing that ends the line.
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

#: Set by the client alone: they frame the message, choose the virtual host, or concern one connection.
RESERVED = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

#: All that another origin gets after a redirect. A list of what to keep: any other header may hold a secret.
_PLAIN = frozenset({"accept", "accept-encoding", "accept-language", "content-type", "user-agent"})

_ABOUT_CONTENT = frozenset({"content-encoding", "content-language", "content-location", "content-type"})


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return `headers` with names in lower case.

    Raises:
        Permanent: type ``egress.invalidRequest``; the message names the header and never its value.
    """
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise Permanent(f"{name!r} is not a header name", type="egress.invalidRequest")
        if name.lower() in RESERVED:
            raise Permanent(
                f"the header {name} is set by the gateway itself; leave it out", type="egress.invalidRequest"
            )
        if not _VALUE.fullmatch(value):
            raise Permanent(
                f"the value of header {name} holds a line break or a character outside Latin-1",
                type="egress.invalidRequest",
            )
        checked[name.lower()] = value.strip(" \t")
    return checked


def for_another_origin(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those headers that hold no secret of the first origin."""
    return {name: value for name, value in headers.items() if name in _PLAIN}


def without_content(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a request whose content was dropped (RFC 9110 §15.4)."""
    return {name: value for name, value in headers.items() if name not in _ABOUT_CONTENT}
