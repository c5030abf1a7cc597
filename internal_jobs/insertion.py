"""Jobs enter the database: which of those with one key stands for the others is decided here."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from internal_jobs.columns import by_column, unnested
from internal_jobs.store import to_be_stopped
from internal_jobs.table import HOLDS_KEY, WAITS, jobs
from plugins.storage.clock import moment
from plugins.storage.database import Database

#: A burst that does not end begins after so many times its `debounce`.
DEBOUNCES = 10


class NewJob(NamedTuple):
    """A row to be inserted."""

    row: dict[str, Any]
    #: whether it takes the place of an open job with its singleton key
    replaces: bool = False
    debounce: timedelta | None = None


class Inserted(NamedTuple):
    """The id of the job that stands for a request, and whether this request made it."""

    id: str
    is_new: bool


class Insertion:
    """Inserts jobs, alone or in a transaction of the caller's."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: by the columns that rows have
        self._statements: dict[tuple[str, ...], Any] = {}

    async def insert(self, news: Sequence[NewJob]) -> list[Inserted]:
        """Insert jobs in one transaction, and tell for each which job stands for it."""
        async with self._database.transaction(*{new.row["tenant_id"] for new in news}) as connection:
            return await self.insert_on(connection, news)

    async def insert_on(self, connection: AsyncConnection, news: Sequence[NewJob]) -> list[Inserted]:
        """Insert jobs in the caller's transaction.

        Of rows with one idempotency key the first stands for all. Of open jobs with one singleton key the first does,
        too, unless a newer one replaces it.
        """
        made: set[str] = set()
        # In one order everywhere: of two transactions with the same keys one waits for the other, and not both.
        in_order = sorted(news, key=_keys)
        if rows := [new.row for new in in_order if not new.replaces]:
            made.update(await self._insert(connection, rows))
        answers: dict[str, Inserted] = {}
        for new in in_order:
            id = new.row["id"]
            answers[id] = Inserted(id, True) if id in made else await self._settle(connection, new)
        return [answers[new.row["id"]] for new in news]

    async def _settle(self, connection: AsyncConnection, new: NewJob) -> Inserted:
        """Find the job that stands for a new one, or insert that after all."""
        row = new.row
        while True:
            if (holder := await _holder(connection, row, any_key=not new.replaces)) is not None:
                return Inserted(holder, False)
            if new.replaces:
                await self._supersede(connection, new)
            # An open job that held the key may have been closed a moment ago, or another may have been made.
            if await self._insert(connection, [row]):
                return Inserted(row["id"], True)

    async def _supersede(self, connection: AsyncConnection, new: NewJob) -> None:
        """Make room for a newer job with a singleton key."""
        row, present = new.row, moment(self._database)
        held = update(jobs).where(jobs.c.tenant_id == row["tenant_id"], jobs.c.singleton_key == row["singleton_key"])
        drop = (
            held.where(jobs.c.status.in_(WAITS))
            .values(status="canceled", closed_at=present, error_type="job.superseded", error_sealed=None)
            .returning(jobs.c.debounced_since)
        )
        yields = {"yielded_key": jobs.c.singleton_key, "singleton_key": None}
        follow = held.where(jobs.c.status == "running").values(**yields)
        if new.debounce is None:
            follow = follow.values(cancel_requested=true())
        # An execution may go on for days: it is always asked to stop.
        stop = held.where(jobs.c.status == "promoted").values(**yields, **to_be_stopped(self._database))
        dropped = (await connection.execute(drop)).first()
        await connection.execute(follow)
        await connection.execute(stop)
        if new.debounce is not None and dropped is not None and dropped.debounced_since is not None:
            since: datetime = dropped.debounced_since
            at = min(row["available_at"], max(since + new.debounce * DEBOUNCES, row["created_at"]))
            row.update(debounced_since=since, available_at=at)

    async def _insert(self, connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> Sequence[str]:
        """Insert rows, which have the same columns; return the ids of those whose keys were free."""
        columns = tuple(rows[0])
        if (statement := self._statements.get(columns)) is None:
            statement = self._statements[columns] = self._statement(columns)
        given: Any = rows if self._database.is_sqlite else by_column(columns, rows)
        return (await connection.execute(statement, given)).scalars().all()

    def _statement(self, columns: Sequence[str]) -> Any:
        insert = self._database.insert(jobs)
        if not self._database.is_sqlite:
            insert = insert.from_select(columns, unnested(columns))
        return insert.on_conflict_do_nothing().returning(jobs.c.id)


async def _holder(connection: AsyncConnection, row: dict[str, Any], *, any_key: bool) -> str | None:
    """Return the id of the job that stands for a row already: its own, that of its idempotency key, or else, if any key
    counts, of its singleton key.
    """
    if (await connection.execute(select(jobs.c.id).where(*_is(row)))).first() is not None:
        return str(row["id"])
    keys = ((jobs.c.idempotency_key, true()), (jobs.c.singleton_key, HOLDS_KEY))
    for column, condition in keys if any_key else keys[:1]:
        if (key := row[column.name]) is not None:
            query = select(jobs.c.id).where(jobs.c.tenant_id == row["tenant_id"], column == key, condition)
            if (found := (await connection.execute(query)).scalar_one_or_none()) is not None:
                return str(found)
    return None


def _keys(new: NewJob) -> tuple[str, str]:
    return new.row["singleton_key"] or "", new.row["idempotency_key"] or ""


def _is(row: dict[str, Any]) -> tuple[ColumnElement[bool], ...]:
    return jobs.c.tenant_id == row["tenant_id"], jobs.c.id == row["id"]
