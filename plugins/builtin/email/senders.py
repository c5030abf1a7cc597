"""Who may send as whom by the installation's own mail server."""

from collections.abc import Iterable
from email.headerregistry import Address
from typing import Annotated

from msgspec import Meta

from plugins import Permanent
from plugins.builtin.email.mailbox import parse_mailboxes
from plugins.builtin.email.server import SmtpServer

_DOMAIN = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"

#: ``robot@example.com``, ``*@example.com``, ``*@*.example.com`` (domains below it), or ``*``
SenderPattern = Annotated[
    str,
    Meta(
        pattern=rf"^(\*|(\*|[^@\s*]+)@(\*\.)?{_DOMAIN})$(?!\n)",
        max_length=320,
        description="robot@example.com, *@example.com, *@*.example.com or *; small letters, domains in ASCII.",
    ),
]


def is_granted(address: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns is for this address."""
    local, _, domain = address.lower().rpartition("@")
    return any(_matches(pattern, local, domain) for pattern in patterns)


def check_sender(sender: Address, pointer: str, server: SmtpServer, granted: Iterable[str]) -> None:
    """Let a tenant send as `sender` by `server`, or refuse it.

    Raises:
        Permanent: type ``email.senderNotGranted``.
    """
    if server.any_sender or is_granted(sender.addr_spec, granted):
        return
    (own,) = parse_mailboxes(server.default_sender, "/from")
    if sender.addr_spec.lower() != own.addr_spec.lower():
        raise Permanent(
            f"{sender.addr_spec} at {pointer} is not granted to this tenant; ask the administrator for it"
            " (/v1/tenants/…/email-senders), or bind an smtp credential of your own",
            type="email.senderNotGranted",
        )


def _matches(pattern: str, local: str, domain: str) -> bool:
    if pattern == "*":
        return True
    wanted, _, place = pattern.lower().rpartition("@")
    if wanted not in ("*", local):
        return False
    return domain.endswith(place[1:]) if place.startswith("*.") else domain == place
