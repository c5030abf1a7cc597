"""Pages of records from an HTTP API."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec
from msgspec import Struct

from plugins import Context, Permanent, Response
from plugins.builtin.authentication import authentication
from plugins.builtin.status import status_error
from plugins.builtin.sync.model import HttpSource, LinkCursor, OffsetCursor, PageCursor, TokenCursor
from plugins.builtin.sync.pointer import find
from plugins.builtin.sync.progress import Cursor

_NEXT = re.compile(r'<([^>]*)>\s*(?:;[^,<]*)?;\s*rel="?next"?', re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}


class Page(Struct, frozen=True, kw_only=True):
    records: list[Any]
    #: of the page that follows; ``None``: this is the last
    next: Cursor
    #: of all records, where the source says
    total: int | None
    #: what no other page of the source has
    trait: str


async def fetch_page(source: HttpSource, cursor: Cursor, ctx: Context) -> Page:
    """Ask for one page.

    Args:
        source: where.
        cursor: of the page; ``None``: the first.
        ctx: its slot `auth` authenticates.

    Raises:
        PluginError: of the request; ``http.<status>``; ``sync.source``, the answer is not what the config says.
    """
    headers, params = authentication(ctx, "auth")
    url, query = _place(source, cursor)
    response = await ctx.http_for("auth").request(
        "GET",
        url,
        headers={"accept": "application/json"}
        | {name.lower(): value for name, value in source.headers.items()}
        | headers,
        params=query | params,
    )
    if not 200 <= response.status < 300:
        raise status_error(response)
    try:
        document = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _unexpected("the source answered something other than JSON") from None
    records = find(document, source.items)
    if not isinstance(records, list):
        where = f"at {source.items}" if source.items else "as the whole answer"
        raise _unexpected(f"the source gave no list {where}; say in /source/items where the records are")
    total = None if source.total is None else find(document, source.total)
    following = _next(source, cursor, document, response, len(records))
    # A source that ignores a page's number gives the same records for ever; one with cursors, the same cursor.
    counts = isinstance(source.cursor, PageCursor | OffsetCursor)
    trait = msgspec.json.encode(records).decode() if counts else str(following)
    return Page(records=records, next=following, total=total if isinstance(total, int) else None, trait=trait)


def _place(source: HttpSource, cursor: Cursor) -> tuple[str, dict[str, str]]:
    """Return the URL of a page and the parameters to add to it."""
    query = {name: _text(value) for name, value in source.query.items()}
    match source.cursor:
        case LinkCursor() if cursor is not None:
            return str(cursor), {}
        case TokenCursor(param=param, start=start) | PageCursor(param=param, start=start):
            position: Cursor = start if cursor is None else cursor
        case OffsetCursor(param=param, start=start):
            position = start if cursor is None else cursor
        case _:
            return source.url, query
    return source.url, query if position is None else query | {param: str(position)}


def _next(source: HttpSource, cursor: Cursor, document: Any, response: Response, count: int) -> Cursor:
    match source.cursor:
        case TokenCursor(next=pointer):
            token = find(document, pointer)
            if token is not None and not isinstance(token, str | int):
                raise _unexpected(f"what stands at {pointer} is no cursor, but {type(token).__name__}")
            # An empty one, or `false`, is how some say that there is none.
            return token if token not in ("", False) else None
        case LinkCursor(next=pointer):
            link = _header_link(response.headers) if pointer is None else find(document, pointer)
            return None if link in (None, "") else _same_origin(source.url, response.url, link)
        case PageCursor(start=start):
            return (start if cursor is None else int(cursor)) + 1 if count else None
        case OffsetCursor(start=start):
            return (start if cursor is None else int(cursor)) + count if count else None
        case None:
            return None


def _header_link(headers: Mapping[str, str]) -> str | None:
    found = _NEXT.search(headers.get("link", ""))
    return None if found is None else found[1]


def _same_origin(source: str, page: str, link: Any) -> str:
    """Return the link as an absolute URL.

    Raises:
        Permanent: it leads elsewhere, where the credential would be shown to somebody else.
    """
    try:
        url: str = urljoin(page, link)
        is_same = _origin(url) == _origin(source)
    except (TypeError, ValueError):
        is_same = False
    if not is_same:
        raise _unexpected("the link to the next page leads to another origin than /source/url")
    return url


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _unexpected(message: str) -> Permanent:
    return Permanent(message, type="sync.source")
