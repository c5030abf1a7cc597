"""The database's clock: leases and due times are compared on it, so a process with a wrong clock does no harm."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Interval, func, literal

from plugins.storage.database import Database, Instant, now


def moment(database: Database, seconds: float = 0.0) -> ColumnElement[datetime]:
    """Return the SQL for the moment `seconds` from now. On SQLite, which has no server, the clock is this process's."""
    if database.is_sqlite:
        return literal(now() + timedelta(seconds=seconds), Instant)
    present = func.statement_timestamp(type_=Instant)
    return present if not seconds else present + literal(timedelta(seconds=seconds), Interval)
