"""What a refused HTTP request means for the next attempt."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from plugins import Permanent, PluginError, Response, Transient

_PASSING = frozenset({408, 425, 429})
_EXCERPT = 200


def status_error(response: Response) -> PluginError:
    """Return the error, of type ``http.<status>``, for an answer that is not what was hoped for.

    408, 425, 429 and 5xx may pass. A 429 or 503 with Retry-After says that nothing was done.
    """
    status = response.status
    type, message = f"http.{status}", _message(response)
    if status not in _PASSING and status < 500:
        return Permanent(message, type=type, status=status)
    wait = retry_after(response, datetime.now(UTC))
    if status in (429, 503) and wait is not None:
        return Transient(message, type=type, status=status, effect="none", retry_after=wait)
    return Transient(message, type=type, status=status, effect="unknown", retry_after=wait)


def retry_after(response: Response, now: datetime) -> float | None:
    """Return the seconds that Retry-After asks to wait (RFC 9110 §10.2.3), ``None`` without a readable one."""
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - now).total_seconds(), 0.0)


def _message(response: Response) -> str:
    try:
        phrase = f" {HTTPStatus(response.status).phrase}"
    except ValueError:
        phrase = ""
    excerpt = " ".join(response.content[: 4 * _EXCERPT].decode("utf-8", "replace").split())[:_EXCERPT]
    said = f": {excerpt}" if excerpt.isprintable() and excerpt else ""
    return f"{urlsplit(response.url).hostname} answered {response.status}{phrase}{said}"
