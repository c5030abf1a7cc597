"""Mailboxes as people write them: ``ann@example.com``, ``Ann Lee <ann@example.com>, bob@example.com``."""

import re
from collections.abc import Iterable
from email.headerregistry import Address
from email.utils import getaddresses

from plugins import Permanent

_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")


def one_line(text: str, field: str) -> str:
    """Return `text` if it can stand in a header.

    Raises:
        Permanent: type ``email.invalidHeader``, it holds a line break or another control character.
    """
    if _CONTROL.search(text):
        raise Permanent(
            f"{field!r} holds a line break or another control character, and must be one line",
            type="email.invalidHeader",
        )
    return text


def parse_mailboxes(value: str | Iterable[str], field: str) -> tuple[Address, ...]:
    """Read one or several mailboxes; the domains come back in ASCII (IDNA).

    Raises:
        Permanent: ``email.invalidHeader``, or ``email.invalidAddress`` naming what cannot be read.
    """
    texts = [value] if isinstance(value, str) else list(value)
    mailboxes: list[Address] = []
    for text in texts:
        for name, address in getaddresses([one_line(text, field)]):
            mailboxes.append(_mailbox(name, address, text, field))
    return tuple(mailboxes)


def _mailbox(name: str, address: str, text: str, field: str) -> Address:
    local, _, domain = address.rpartition("@")
    try:
        domain = domain.encode("idna").decode("ascii")
    except UnicodeError:
        domain = ""
    if not _LOCAL.fullmatch(local) or not _DOMAIN.fullmatch(domain) or len(domain) > 253:
        raise Permanent(f"{text!r} in {field!r} is not an e-mail address", type="email.invalidAddress")
    return Address(name, local, domain)
