"""Mailboxes as people write them: ``ann@example.com``, ``Ann Lee <ann@example.com>, bob@example.com``."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from email.errors import InvalidHeaderDefect
from email.headerregistry import Address
from email.policy import default

import idna

from plugins import Permanent

# Beyond ASCII (RFC 6531) everything but controls, spaces and halves of characters.
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\u00a1-\ud7ff\uf900-\ufeff\U00010000-\U000e0000-]{1,64}")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]")


def one_line(text: str, pointer: str) -> str:
    """Return `text` if it can stand in a header.

    Raises:
        Permanent: type ``email.invalidHeader``, it holds a line break or another control character.
    """
    if _CONTROL.search(text):
        raise Permanent(
            f"{pointer} holds a line break or another control character, and must be one line",
            type="email.invalidHeader",
        )
    return text


def parse_mailboxes(value: str | Iterable[str], pointer: str) -> tuple[Address, ...]:
    """Read one or several mailboxes; the domains come back in ASCII (IDNA 2008).

    Args:
        value: as the user wrote it.
        pointer: where it stands in the config.

    Raises:
        Permanent: ``email.invalidHeader``, or ``email.invalidAddress`` naming what cannot be read.
    """
    if isinstance(value, str):
        return tuple(_mailboxes(value, pointer))
    return tuple(mailbox for index, text in enumerate(value) for mailbox in _mailboxes(text, f"{pointer}/{index}"))


def is_ascii(mailboxes: Iterable[Address]) -> bool:
    """Whether every server can carry these addresses; names of people are encoded anyway."""
    return all(mailbox.username.isascii() for mailbox in mailboxes)


def _mailboxes(text: str, pointer: str) -> Iterator[Address]:
    one_line(text, pointer)
    invalid = Permanent(f"{text!r} at {pointer} is not an e-mail address", type="email.invalidAddress")
    try:
        header = default.header_factory("To", text)
    except Exception:
        # Some malformed addresses make the standard library's parser itself fail, with errors of many kinds.
        raise invalid from None
    if not header.addresses or any(isinstance(defect, InvalidHeaderDefect) for defect in header.defects):
        raise invalid
    for address in header.addresses:
        local = unicodedata.normalize("NFC", address.username)
        try:
            domain = address.domain.lower() if address.domain.isascii() else _in_ascii(address.domain)
        except UnicodeError:
            raise invalid from None
        if not _LOCAL.fullmatch(local) or not _DOMAIN.fullmatch(domain) or len(domain) > 253:
            raise invalid
        yield Address(address.display_name, local, domain)


def _in_ascii(domain: str) -> str:
    return idna.encode(domain, uts46=True).decode("ascii")
