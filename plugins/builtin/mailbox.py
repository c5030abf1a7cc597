"""Mailboxes as people write them: ``ann@example.com``, ``Ann Lee <ann@example.com>, bob@example.com``."""

import re
from collections.abc import Iterable, Iterator
from email.errors import InvalidHeaderDefect
from email.headerregistry import Address
from email.policy import default

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
    texts = [value] if isinstance(value, str) else value
    return tuple(mailbox for text in texts for mailbox in _mailboxes(one_line(text, field), field))


def _mailboxes(text: str, field: str) -> Iterator[Address]:
    invalid = Permanent(f"{text!r} in {field!r} is not an e-mail address", type="email.invalidAddress")
    try:
        header = default.header_factory("To", text)
    except Exception:
        # Some malformed addresses make the standard library's parser itself fail, with errors of many kinds.
        raise invalid from None
    if not header.addresses or any(isinstance(defect, InvalidHeaderDefect) for defect in header.defects):
        raise invalid
    for address in header.addresses:
        try:
            domain = address.domain.encode("idna").decode("ascii")
        except UnicodeError:
            raise invalid from None
        if not _LOCAL.fullmatch(address.username) or not _DOMAIN.fullmatch(domain) or len(domain) > 253:
            raise invalid
        yield Address(address.display_name, address.username, domain)
