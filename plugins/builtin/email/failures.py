"""What a mail server's answers mean for the next attempt."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from aiosmtplib import errors

from plugins import Permanent, PluginError, Transient

_LONGEST = 200


@contextmanager
def failures(place: str, *, lost: Literal["none", "unknown"]) -> Iterator[None]:
    """Turn aiosmtplib's errors into ours; `lost` is the effect when the connection is.

    Raises:
        Transient: ``smtp.4xx``, the server asks to come back: nothing was sent; ``network.timeout``, ``network.reset``.
        Permanent: ``smtp.5xx``, ``smtp.authentication``, ``smtp.untrusted``, ``smtp.failed``.
    """
    try:
        yield
    except errors.SMTPResponseException as error:
        raise _refusal(place, error) from None
    except OSError as error:
        if isinstance(error, ssl.SSLCertVerificationError) or isinstance(error.__cause__, ssl.SSLCertVerificationError):
            raise Permanent(f"the certificate of {place} is not trusted", type="smtp.untrusted") from None
        if isinstance(error, TimeoutError):
            raise Transient(f"{place} did not answer in time", type="network.timeout", effect=lost) from None
        raise Transient(f"the connection to {place} broke off", type="network.reset", effect=lost) from None
    except errors.SMTPException as error:
        raise Permanent(f"{place} and the gateway do not understand each other: {error}", type="smtp.failed") from None


def said(message: str) -> str:
    """Return what a server said, on one line and short enough for an error."""
    return " ".join(message.split())[:_LONGEST]


def _refusal(place: str, error: errors.SMTPResponseException) -> PluginError:
    message = f"{place} answered {error.code}: {said(error.message)}"
    if isinstance(error, errors.SMTPAuthenticationError) and error.code >= 500:
        return Permanent(message, type="smtp.authentication", status=error.code)
    if 400 <= error.code < 500:
        return Transient(message, type=f"smtp.{error.code}", status=error.code, effect="none")
    return Permanent(message, type=f"smtp.{error.code}", status=error.code)
