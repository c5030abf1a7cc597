"""Lists in pages: ``{items, nextCursor}``, continued by ``?cursor=``."""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

from litestar.params import QueryParameter
from msgspec import Struct

from gateway.errors import BadRequest, BodyFault

T = TypeVar("T")

Limit = Annotated[int, QueryParameter(ge=1, le=200, description="the most items of the page")]
Cursor = Annotated[str | None, QueryParameter(description="`nextCursor` of the page before")]

_ID = re.compile(r"[a-z]{2,5}_[0-9a-z]{26}")


class Page(Struct, Generic[T], frozen=True, kw_only=True, rename="camel"):
    items: Sequence[T]
    #: continues the list; null on the last page
    next_cursor: str | None


def page_of(found: Sequence[T], limit: int, id_of: Callable[[T], str]) -> tuple[list[T], str | None]:
    """Split off the one item that was fetched beyond `limit`: it says that there is another page."""
    items = list(found[:limit])
    return items, id_of(items[-1]) if len(found) > limit else None


def position(cursor: str | None) -> str | None:
    """Return the id that a cursor stands for.

    Raises:
        BadRequest: no list ever gave that cursor.
    """
    if cursor is not None and not _ID.fullmatch(cursor):
        detail = "is not a cursor that a list gave"
        raise BadRequest(f"The cursor {detail}.", errors=[BodyFault("cursor", detail)])
    return cursor
