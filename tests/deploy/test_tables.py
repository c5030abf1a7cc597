"""Tenants are apart in every table, and what they wrote is sealed."""

import pytest
from sqlalchemy import JSON, LargeBinary, Table, Text

from deploy.tables import metadata

TABLES = metadata.sorted_tables

#: columns of free form that are in clear, and why
IN_CLEAR = {
    "api_keys.scopes": "names of permissions",
    "executions.acting": "ids and times of steps",
    "executions.trigger": "type and id of the trigger",
    "job_inbox.request": "other services, which cannot seal, write it; a worker seals it and deletes this, at once",
    "job_replays.filter": "ids, times, types and tags",
    "jobs.credentials": "ids",
    "jobs.retry": "numbers, durations and error types",
    "jobs.tags": "tags are searched",
}

#: bytes that are not sealed, and why
NOT_SEALED = {
    "api_keys.key_sha256": "a digest of 256 random bits",
    "credentials.state_sha256": "a digest of 256 random bits",
    "idempotency_keys.fingerprint": "a digest",
    "tenant_keys.wrapped_key": "sealed by the master key",
}


@pytest.mark.parametrize("table", [table for table in TABLES if table.name != "tenants"], ids=lambda table: table.name)
def test_the_primary_key_of_every_table_begins_with_the_tenant(table: Table) -> None:
    assert next(iter(table.primary_key)).name == "tenant_id"


def test_columns_of_free_form_are_sealed() -> None:
    columns = [column for table in TABLES for column in table.c]
    free = {f"{column.table.name}.{column.name}" for column in columns if isinstance(column.type, JSON | Text)}
    assert free == set(IN_CLEAR)


def test_bytes_are_named_for_being_sealed() -> None:
    binary = [column for table in TABLES for column in table.c if isinstance(column.type, LargeBinary)]
    plain = {f"{column.table.name}.{column.name}" for column in binary if not column.name.endswith("_sealed")}
    assert plain == set(NOT_SEALED)
