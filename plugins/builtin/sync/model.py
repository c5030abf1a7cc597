"""What a sync copies, from where and to where, as its config says it."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from plugins.builtin.sync.pointer import Pointer

Scalar = str | int | float | bool
Url = Annotated[str, Meta(pattern=r"^https?://", max_length=8192, description="Absolute, http or https.")]
Parameter = Annotated[str, Meta(min_length=1, max_length=200, description="A parameter of the query.")]
Column = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_$]{0,62}$(?!\n)", description="The name of a column.")]
Table = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z_][A-Za-z0-9_$]{0,62}\.)?[A-Za-z_][A-Za-z0-9_$]{0,62}$(?!\n)",
        description="table or schema.table, in the case in which it was made.",
    ),
]


class TokenCursor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="token"):
    """Each page holds the token of the next; the last one holds none."""

    param: Parameter
    #: where the token stands in the page
    next: Pointer
    #: the token of the first page, where it has one
    start: str | None = None


class LinkCursor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="link"):
    """Each page links to the next, within the same origin."""

    #: where the link stands in the page; left out: in the header Link, as rel="next"
    next: Pointer | None = None


class PageCursor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="page"):
    """Pages are numbered; the one after the last is empty."""

    param: Parameter = "page"
    start: int = 1


class OffsetCursor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="offset"):
    """Records are counted; the page behind the last is empty."""

    param: Parameter = "offset"
    start: int = 0


class HttpSource(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="http"):
    url: Url
    query: Annotated[dict[str, Scalar], Meta(description="Of every page, e.g. the size of a page.")] = {}
    headers: dict[str, str] = {}
    items: Annotated[Pointer, Meta(description="Where the list of records stands in a page.")] = ""
    total: Annotated[Pointer, Meta(description="Where the number of all records stands, for percents.")] | None = None
    cursor: TokenCursor | LinkCursor | PageCursor | OffsetCursor | None = None


class SqlSink(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="sql"):
    """A table of a PostgreSQL database, named by the credential in slot `database`."""

    table: Table
    #: column → where its value stands in a record; ``null`` where nothing does
    columns: Annotated[dict[Column, Pointer], Meta(min_length=1, max_length=500)]
    key: Annotated[
        tuple[Column, ...],
        Meta(min_length=1, max_length=32, description="The columns of a unique index: a record is written once."),
    ]
    mode: Annotated[
        Literal["upsert", "insert"], Meta(description="upsert changes rows that are there, insert lets them stand.")
    ] = "upsert"


class HttpSink(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="http"):
    """A receiver of JSON that honours Idempotency-Key, or does not mind to be told twice after a crash."""

    url: Url
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    headers: dict[str, str] = {}
    batch: Annotated[
        int, Meta(ge=1, le=10_000, description="Records in one request; with 1 each is sent by itself, not in a list.")
    ] = 100
    wrap: Annotated[str, Meta(min_length=1, description="Send {wrap: [records]} instead of a bare list.")] | None = None


class Sync(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    source: HttpSource
    sink: SqlSink | HttpSink
    max_pages: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    rate_per_second: (
        Annotated[float, Meta(gt=0, le=1000, description="Pages asked for in a second, at most.")] | None
    ) = None


class Synced(Struct, frozen=True, kw_only=True, rename="camel"):
    #: of the whole sync, whatever the number of attempts
    pages: int
    records: int
    #: whether the source has no more
    complete: bool
    #: where it stopped at `maxPages`: a later sync may start there
    cursor: str | int | None = None
