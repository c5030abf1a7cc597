"""One submission to an SMTP server, and what its failures mean for the next attempt."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib
from aiosmtplib import errors
from msgspec import Struct

from plugins import Context, Permanent, PluginError, Secret, SmtpCredential, Transient

#: Seconds for one answer of the server; the call's own timeout bounds them all.
_ANSWER_TIMEOUT = 30.0
_QUIT_TIMEOUT = 2.0

_SCHEMES: dict[str, tuple[Literal["none", "starttls", "tls"], int]] = {
    "smtp": ("none", 25),
    "smtp+starttls": ("starttls", 587),
    "smtps": ("tls", 465),
}


class SmtpServer(Struct, frozen=True, kw_only=True):
    """A server that accepts mail, and who it comes from unless the mail says otherwise."""

    credential: SmtpCredential
    sender: str | None = None

    @property
    def default_sender(self) -> str:
        """`sender`, else the user name where it is an address, else ``no-reply`` at the server's own name."""
        if self.sender is not None:
            return self.sender
        username, host = self.credential.username, self.credential.host
        if username is not None and "@" in username:
            return username
        return f"no-reply@{'localhost' if _is_address(host) else host}"


class Submission(Struct, frozen=True, kw_only=True):
    sender: str
    recipients: tuple[str, ...]
    content: bytes


def parse_smtp_url(url: str) -> SmtpServer:
    """Read ``smtp://``, ``smtp+starttls://`` or ``smtps://[user:password@]host[:port][?from=address]``.

    Raises:
        ValueError: it has another form; the message does not repeat the password.
    """
    parts = urlsplit(url)
    try:
        security, port = _SCHEMES[parts.scheme]
        query = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
        if not parts.hostname or parts.path not in ("", "/") or query.keys() - {"from"}:
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
    return SmtpServer(credential=credential, sender=query.get("from", [None])[0])


async def submit(ctx: Context, server: SmtpServer, submission: Submission) -> None:
    """Hand one message to `server`, for all recipients or for none.

    Raises:
        Transient: the server cannot be reached or asks to come back: nothing was sent. Lost after the message went
            out: unknown.
        Permanent: ``smtp.<code>``, the server refuses; ``smtp.authentication``, ``smtp.untrusted``, ``smtp.noTls``,
            ``smtp.failed``.
    """
    credential = server.credential
    opened = await ctx.http.connect(credential.host, credential.port)
    client = aiosmtplib.SMTP(
        hostname=credential.host,
        sock=opened,
        use_tls=credential.security == "tls",
        start_tls=False,
        tls_context=ctx.http.tls,
        timeout=_ANSWER_TIMEOUT,
        local_hostname=submission.sender.rpartition("@")[2],
    )
    try:
        with _failures(credential, lost="none"):
            await client.connect()
            if credential.security == "starttls":
                await _start_tls(client, credential)
            if credential.username is not None:
                await _log_in(client, credential)
            await client.mail(submission.sender)
            for recipient in submission.recipients:
                await client.rcpt(recipient)
        with _failures(credential, lost="unknown"):
            await client.data(submission.content)
        # The mail is accepted: how the conversation ends changes nothing.
        with suppress(errors.SMTPException, OSError):
            await client.quit(timeout=_QUIT_TIMEOUT)
    finally:
        # The socket is the connection's own by now, and closes with it.
        client.close()


async def _start_tls(client: aiosmtplib.SMTP, credential: SmtpCredential) -> None:
    await client.ehlo()
    if not client.supports_extension("starttls"):
        # Going on without would show the password to whoever removed the offer.
        raise Permanent(f"{_place(credential)} offers no STARTTLS", type="smtp.noTls")
    await client.starttls()


async def _log_in(client: aiosmtplib.SMTP, credential: SmtpCredential) -> None:
    await client.ehlo()
    if not client.supports_extension("auth"):
        raise Permanent(f"{_place(credential)} offers no way to log in", type="smtp.authentication")
    password = "" if credential.password is None else credential.password.reveal()
    await client.login(credential.username or "", password)


@contextmanager
def _failures(credential: SmtpCredential, *, lost: Literal["none", "unknown"]) -> Iterator[None]:
    """Turn aiosmtplib's errors into ours; `lost` is the effect when the connection is."""
    where = _place(credential)
    try:
        yield
    except errors.SMTPResponseException as error:
        raise _refusal(where, error) from None
    except OSError as error:
        if isinstance(error, ssl.SSLCertVerificationError) or isinstance(error.__cause__, ssl.SSLCertVerificationError):
            raise Permanent(f"the certificate of {where} is not trusted", type="smtp.untrusted") from None
        if isinstance(error, TimeoutError):
            raise Transient(f"{where} did not answer in time", type="network.timeout", effect=lost) from None
        raise Transient(f"the connection to {where} broke off", type="network.reset", effect=lost) from None
    except errors.SMTPException as error:
        raise Permanent(f"{where} and the gateway do not understand each other: {error}", type="smtp.failed") from None


def _refusal(where: str, error: errors.SMTPResponseException) -> PluginError:
    said = " ".join(error.message.split())[:200]
    whom = f" for {error.recipient}" if isinstance(error, errors.SMTPRecipientRefused) else ""
    message = f"{where} answered {error.code}{whom}: {said}"
    if isinstance(error, errors.SMTPAuthenticationError) and error.code >= 500:
        return Permanent(message, type="smtp.authentication", status=error.code)
    if 400 <= error.code < 500:
        return Transient(message, type=f"smtp.{error.code}", status=error.code, effect="none")
    return Permanent(message, type=f"smtp.{error.code}", status=error.code)


def _place(credential: SmtpCredential) -> str:
    return f"{credential.host}:{credential.port}"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
