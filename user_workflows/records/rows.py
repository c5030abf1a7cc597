"""Records as rows: what is looked up, and what is written, of executions and of their steps."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import UNSET, structs
from sqlalchemy import Insert, Row, bindparam, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from internal_jobs.webhooks.desk import is_listening
from plugins.storage.database import Database, now
from plugins.vault.cipher import Sealer
from user_workflows.admission.gate import leaving
from user_workflows.executions.tables import OPEN_STATUSES, executions, path_key, result_place, step_place, steps
from user_workflows.interpreter.messages import ExecutionRecord, StepRecord

#: tenant and execution
Key = tuple[str, str]

_STEP_COLUMNS = ("seq", "status", "attempt", "error_type", "detail_sealed", "started_at", "closed_at")

_FIND = (
    select(
        *(executions.c.tenant_id, executions.c.id, executions.c.seq),
        *(executions.c.closed_at, executions.c.admission, executions.c.trigger),
        is_listening(executions.c.tenant_id).label("is_heard"),
    )
    .where(tuple_(executions.c.tenant_id, executions.c.id).in_(bindparam("keys", expanding=True)))
    .where(executions.c.status.in_((*OPEN_STATUSES, "terminated")))
    .with_for_update()
)

_UPDATE_EXECUTION = (
    executions.update()
    .where(executions.c.tenant_id == bindparam("key_tenant"))
    .where(executions.c.id == bindparam("key_id"))
    .where(executions.c.seq <= bindparam("seq"))
    .values(
        seq=bindparam("seq"),
        status=bindparam("status"),
        started_at=bindparam("started_at"),
        closed_at=bindparam("closed_at"),
        checked_at=bindparam("checked_at"),
        # Whoever tells of itself moves.
        stuck_reason=None,
        stuck_since=None,
        result_sealed=bindparam("result_sealed"),
        error_type=bindparam("error_type"),
        history_events=bindparam("history_events"),
        billable_actions=bindparam("billable_actions"),
        **leaving(bindparam("closed_at", type_=executions.c.closed_at.type).is_not(None)),
    )
)


def key_of(record: ExecutionRecord) -> Key:
    return record.tenant_id, record.execution_id


def upsert_steps(database: Database) -> Insert:
    """Return the statement that writes steps, each unless a newer record of it is there; of equal ones the last counts.

    Built once: SQLAlchemy takes longer to build it than SQLite to carry it out.
    """
    insert = database.insert(steps)
    changed: dict[str, Any] = {name: insert.excluded[name] for name in _STEP_COLUMNS}
    changed["input_sealed"] = func.coalesce(insert.excluded.input_sealed, steps.c.input_sealed)
    return insert.on_conflict_do_update(
        index_elements=["tenant_id", "execution_id", "node_id", "path"],
        set_=changed,
        where=steps.c.seq <= insert.excluded.seq,
    )


async def find_rows(
    connection: AsyncConnection, records: Collection[ExecutionRecord]
) -> "dict[Key, Row[*tuple[Any, ...]]]":
    """Return, and lock, the rows of executions that are open or were terminated."""
    keys = [key_of(record) for record in records]
    return {(row.tenant_id, row.id): row for row in await connection.execute(_FIND, {"keys": keys})}


async def write_records(
    connection: AsyncConnection,
    records: Collection[ExecutionRecord],
    rows: "Mapping[Key, Row[*tuple[Any, ...]]]",
    sealers: Mapping[str, Sealer],
    upsert: Insert,
) -> Sequence[ExecutionRecord]:
    """Bring rows up to date with `records`, and return those that count: rows that are gone or closed stay.

    Of one that was terminated the steps are still told: it had no chance to tell of its end.
    """
    known = [record for record in records if key_of(record) in rows]
    live = [record for record in known if rows[key_of(record)].closed_at is None]
    cut_off = [_cut_off(record, at) for record in known if (at := rows[key_of(record)].closed_at) is not None]
    if live:
        at = now()
        await connection.execute(_UPDATE_EXECUTION, [_execution_row(r, sealers[r.tenant_id], at) for r in live])
    step_rows = [_step_row(r, step, sealers[r.tenant_id]) for r in (*live, *cut_off) for step in r.steps]
    if step_rows:
        await connection.execute(upsert, step_rows)
    return live


def _cut_off(record: ExecutionRecord, at: datetime) -> ExecutionRecord:
    """Return what a record tells of an execution that was terminated: nothing of it runs any more."""
    ended = [
        structs.replace(step, status="canceled", closed_at=at) if step.status in ("running", "waiting") else step
        for step in record.steps
    ]
    return structs.replace(record, steps=tuple(ended))


def _execution_row(record: ExecutionRecord, sealer: Sealer, at: datetime) -> dict[str, Any]:
    result = None
    if record.closed_at is not None:
        result = sealer.seal_json({"output": record.output, "error": record.error}, result_place(record.execution_id))
    return {
        "key_tenant": record.tenant_id,
        "key_id": record.execution_id,
        "seq": record.seq,
        "status": record.status,
        "started_at": record.started_at,
        "closed_at": record.closed_at,
        "checked_at": at,
        "result_sealed": result,
        "error_type": None if record.error is None else record.error.type,
        "history_events": record.history_events,
        "billable_actions": record.billable_actions,
    }


def _step_row(record: ExecutionRecord, step: StepRecord, sealer: Sealer) -> dict[str, Any]:
    path = path_key(step.path)
    place = step_place(record.execution_id, step.node_id, path)
    detail = {
        "output": step.output,
        "port": step.port,
        "ports": None if step.ports is UNSET else step.ports,
        "error": step.error,
        "reason": step.reason,
        "compensation": None if step.compensation is UNSET else step.compensation,
    }
    return {
        "tenant_id": record.tenant_id,
        "execution_id": record.execution_id,
        "node_id": step.node_id,
        "path": path,
        "seq": step.seq,
        "status": step.status,
        "attempt": step.attempt,
        "error_type": None if step.error is None else step.error.type,
        "input_sealed": None if step.input is UNSET else sealer.seal_json(step.input, place),
        "detail_sealed": sealer.seal_json(detail, place),
        "started_at": step.started_at,
        "closed_at": step.closed_at,
    }
