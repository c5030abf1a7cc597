"""The database's clock: leases and due times are compared on it, so a process with a wrong clock does no harm."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Interval, bindparam, func, literal

from plugins.storage.database import Database, Instant, now


def moment(database: Database, seconds: float = 0.0) -> ColumnElement[datetime]:
    """Return the SQL for the moment `seconds` after the statement that it is in, however often that is executed.

    On SQLite, which has no server, the clock is this process's.
    """
    if database.is_sqlite:
        return bindparam(None, callable_=lambda: now() + timedelta(seconds=seconds), type_=Instant)
    present = func.statement_timestamp(type_=Instant)
    return present if not seconds else present + literal(timedelta(seconds=seconds), Interval)
