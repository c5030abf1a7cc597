"""Row-level security: on PostgreSQL a transaction sees and writes the rows of the tenants that it acts for, no others.

A statement that forgets its tenant finds nothing of others then, instead of everybody's rows. The setting
``app.tenant`` holds for whom a transaction acts: ids with commas between them, or `EVERYBODY`. Without it nothing is
there.
"""

import re

from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection

#: what ``app.tenant`` holds for work across tenants
EVERYBODY = "*"

_TENANT_ID = re.compile(r"[\w-]+", re.ASCII)

#: Sub-queries are evaluated once for a statement, what stands outside of them once for a row.
_MINE = (
    "{owner} = ANY ((SELECT string_to_array(current_setting('app.tenant', true), ','))::text[])"
    " OR (SELECT current_setting('app.tenant', true)) = '{everybody}'"
)

#: Tables whose rows have an owner, by name, and the column that says who it is.
_OWNED = """
    SELECT quote_ident(relname) AS name, CASE relname WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END AS owner
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
    WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
      AND attname = CASE relname WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END
"""

#: Other services insert here, who say nothing of tenants; see ``deploy/job_inbox.md``.
_INBOXES = ("job_inbox",)

#: what the processes may do with a table, where that is less than everything
_LESS = {
    "alembic_version": "SELECT",
    "audit_records": "SELECT, INSERT",
    "audit_outcomes": "SELECT, INSERT",
}


def acting_for(*tenant_ids: str) -> str:
    """Return ``app.tenant`` for these tenants; what cannot be a tenant's id is left out, and so sees nothing."""
    return ",".join(id for id in tenant_ids if _TENANT_ID.fullmatch(id))


def isolate(connection: Connection) -> None:
    """Put every table that has an owner under row-level security, its own owner included; on SQLite do nothing."""
    if connection.dialect.name != "postgresql":
        return
    bare = f"{_OWNED} AND NOT (relrowsecurity AND relforcerowsecurity)"
    for table, owner in connection.execute(text(bare)).all():
        connection.exec_driver_sql(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        connection.exec_driver_sql(
            f"CREATE POLICY tenant ON {table} USING ({_MINE.format(owner=owner, everybody=EVERYBODY)})"
        )
        if table in _INBOXES:
            connection.exec_driver_sql(f"CREATE POLICY inbox ON {table} FOR INSERT WITH CHECK (true)")


def expose(connection: Connection) -> None:
    """Undo `isolate`, for releases that know nothing of it."""
    if connection.dialect.name != "postgresql":
        return
    for table, _ in connection.execute(text(f"{_OWNED} AND relrowsecurity")).all():
        connection.exec_driver_sql(f"DROP POLICY IF EXISTS inbox ON {table}")
        connection.exec_driver_sql(f"DROP POLICY tenant ON {table}")
        connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY")


def is_above_isolation(connection: Connection) -> bool:
    """Return whether row-level security does not hold for the role of this connection, whatever the tables say."""
    role = text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
    return bool(connection.execute(role).scalar_one())


def grant(connection: Connection, role: str) -> None:
    """Let a role that owns nothing do what the processes do, with every table that there is; run it as the owner."""
    prepare = connection.dialect.identifier_preparer
    schema, name = prepare.quote(inspect(connection).default_schema_name or "public"), prepare.quote(role)
    connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {schema} TO {name}")
    tables: dict[str, list[str]] = {}
    for table in inspect(connection).get_table_names():
        tables.setdefault(_LESS.get(table, "SELECT, INSERT, UPDATE, DELETE"), []).append(prepare.quote(table))
    for privileges, named in tables.items():
        connection.exec_driver_sql(f"GRANT {privileges} ON {', '.join(named)} TO {name}")
