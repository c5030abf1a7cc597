"""Mail servers, as credentials and settings name them."""

from ipaddress import ip_address
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from msgspec import Struct

from plugins import Secret, SmtpCredential

_SCHEMES: dict[str, tuple[Literal["none", "starttls", "tls"], int]] = {
    "smtp": ("none", 25),
    "smtp+starttls": ("starttls", 587),
    "smtps": ("tls", 465),
}


class SmtpServer(Struct, frozen=True, kw_only=True):
    """A server that accepts mail, and who it comes from unless the mail says otherwise."""

    credential: SmtpCredential
    sender: str | None = None
    #: whose login it is; ``None``: the installation's
    owner: str | None = None
    #: the server itself decides who may send as whom
    any_sender: bool = False

    @property
    def default_sender(self) -> str:
        """`sender`, else the user name where it is an address, else ``no-reply`` at the server's own name."""
        if self.sender is not None:
            return self.sender
        username, host = self.credential.username, self.credential.host
        if username is not None and "@" in username:
            return username
        return f"no-reply@{'localhost' if _is_address(host) else host}"

    @property
    def place(self) -> str:
        return f"{self.credential.host}:{self.credential.port}"


def parse_smtp_url(url: str) -> SmtpServer:
    """Read ``smtp://``, ``smtp+starttls://`` or ``smtps://[user:password@]host[:port][?from=address][&senders=any]``.

    With ``senders=any`` every tenant may name any sender, which is for servers that send nothing out of the house.

    Raises:
        ValueError: it has another form; the message does not repeat the password.
    """
    parts = urlsplit(url)
    try:
        security, port = _SCHEMES[parts.scheme]
        query = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
        if not parts.hostname or parts.path not in ("", "/") or query.keys() - {"from", "senders"}:
            raise ValueError
        if query.get("senders", ["any"]) != ["any"]:
            raise ValueError
        credential = SmtpCredential(
            host=parts.hostname,
            port=parts.port or port,
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else Secret(unquote(parts.password)),
            security=security,
        )
    except (KeyError, ValueError):
        raise ValueError(
            "a mail server is written smtp://host:port, smtp+starttls://user:password@host:port or smtps://…,"
            " with ?from=address where mails have a usual sender"
        ) from None
    return SmtpServer(credential=credential, sender=query.get("from", [None])[0], any_sender="senders" in query)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
