"""Tickets: what messages say, and many of them as one parameter of a statement."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, FromClause, Integer, String, and_, bindparam, column, text

from internal_jobs.table import jobs
from plugins.storage.database import Database

_SQLITE = """
    SELECT json_extract(value, '$[0]') AS tenant_id, json_extract(value, '$[1]') AS id,
           json_extract(value, '$[2]') AS sequence
    FROM json_each(:tickets)
"""
_POSTGRESQL = """
    SELECT value ->> 0 AS tenant_id, value ->> 1 AS id, CAST(value ->> 2 AS integer) AS sequence
    FROM json_array_elements(CAST(:tickets AS json)) AS each (value)
"""


class Ticket(Struct, frozen=True, array_like=True):
    """What a message says."""

    tenant_id: str
    job_id: str
    sequence: int


def listed(database: Database) -> FromClause:
    """Return the rows of `listing`, to be joined: the statement is the same for any number of tickets, so that it is
    made once, and the server prepares it once.
    """
    rows = text(_SQLITE if database.is_sqlite else _POSTGRESQL).bindparams(bindparam("tickets", type_=String))
    return rows.columns(column("tenant_id", String), column("id", String), column("sequence", Integer)).subquery(
        "asked"
    )


def listing(tickets: Sequence[Ticket]) -> dict[str, Any]:
    """Return the parameter that `listed` takes."""
    return {"tickets": msgspec.json.encode(tickets).decode()}


def among(rows: FromClause) -> ColumnElement[bool]:
    """Return the condition of jobs that were published as one of these rows says."""
    columns = (jobs.c.tenant_id, jobs.c.id, jobs.c.sequence)
    return and_(*(mine == rows.c[mine.name] for mine in columns))


def published_as(ticket: Ticket) -> ColumnElement[bool]:
    """Return the condition of the job that was published as a ticket says."""
    return and_(jobs.c.tenant_id == ticket.tenant_id, jobs.c.id == ticket.job_id, jobs.c.sequence == ticket.sequence)
