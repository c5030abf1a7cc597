"""Records may come late, twice and out of order; the rows tell the newest all the same."""

import asyncio
import random
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, select, text

from plugins.storage.database import Database
from plugins.storage.tenants import create_tenant
from plugins.vault.keys import MasterKey, Vault
from user_workflows.admission.gate import Gate
from user_workflows.admission.tables import tenant_gates
from user_workflows.executions.tables import executions, result_place, step_place, steps
from user_workflows.interpreter.messages import ExecutionError, ExecutionRecord, StepRecord
from user_workflows.records.announcements import Announcements
from user_workflows.records.writer import RecordWriter, merge

AT = datetime(2026, 1, 1, tzinfo=UTC)


def step(node: str, seq: int, **values: Any) -> StepRecord:
    return StepRecord(node_id=node, seq=seq, **{"status": "running", "started_at": AT, **values})


def record(seq: int, *recorded: StepRecord, **values: Any) -> ExecutionRecord:
    return ExecutionRecord(
        **{"tenant_id": "ten_a", "execution_id": "ex_1", "status": "running", "started_at": AT, **values},
        seq=seq,
        steps=recorded,
    )


@asynccontextmanager
async def writing(
    database: Database,
    folder: Path,
    written: list[Collection[ExecutionRecord]] | None = None,
    *,
    announcements: Announcements | None = None,
) -> AsyncIterator[RecordWriter]:
    vault = Vault(database, MasterKey.load_or_create(folder / "master.json"))
    async with database.across.transaction() as connection:
        await create_tenant(connection, "Acme", id="ten_a")
        row = {
            "tenant_id": "ten_a",
            "id": "ex_1",
            "workflow_id": "wf_1",
            "version": 1,
            "status": "queued",
            "seq": 0,
            "trigger": {"type": "manual"},
            "input_sealed": b"",
            "created_at": AT,
            "due_at": AT,
            "checked_at": AT,
        }
        await connection.execute(executions.insert().values(row))
    published = (written if written is not None else []).append
    writer = RecordWriter(database, vault, Gate(database), published, announcements)
    loop = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


async def rows(database: Database) -> "tuple[Row[Any], dict[str, Row[Any]]]":
    async with database.across.read() as connection:
        execution = (await connection.execute(select(executions))).one()
        found = (await connection.execute(select(steps))).all()
    return execution, {row.node_id: row for row in found}


async def test_an_older_record_never_overwrites_a_newer_one(database: Database, tmp_path: Path) -> None:
    async with writing(database, tmp_path) as writer:
        await writer.write(record(2000, step("a", 2000, status="completed", output=1, input="x")))
        await writer.write(record(1000, step("a", 1000, status="running", input="x")))
        execution, found = await rows(database)
    assert (execution.status, execution.seq) == ("running", 2000)
    assert found["a"].status == "completed"


async def test_what_is_told_in_quick_succession_is_written_together(database: Database, tmp_path: Path) -> None:
    written: list[Collection[ExecutionRecord]] = []
    async with writing(database, tmp_path, written) as writer:
        for seq in (1000, 2000, 3000):
            writer.put(record(seq, step(f"n{seq}", seq)))
            await asyncio.sleep(0)
        await writer.write(record(4000, step("last", 4000)))
        _, found = await rows(database)
    assert sorted(found) == ["last", "n1000", "n2000", "n3000"]
    assert [[r.seq for r in records] for records in written] == [[4000]]


async def test_what_nobody_waits_for_is_written_soon(database: Database, tmp_path: Path) -> None:
    written: list[Collection[ExecutionRecord]] = []
    async with writing(database, tmp_path, written) as writer:
        writer.put(record(1000, step("a", 1000)))
        async with asyncio.timeout(60):
            while not written:
                await asyncio.sleep(0.01)
        _, found = await rows(database)
    assert list(found) == ["a"]


async def test_what_somebody_waits_for_takes_the_rest_along_at_once(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("user_workflows.records.writer.LINGER", 3_600.0)
    written: list[Collection[ExecutionRecord]] = []
    async with writing(database, tmp_path, written) as writer:
        writer.put(record(1000, step("a", 1000)))
        writer.put(record(2000, step("b", 2000)), is_awaited=True)
        async with asyncio.timeout(60):
            while not written:
                await asyncio.sleep(0.01)
        _, found = await rows(database)
    assert list(found) == ["a", "b"]


async def test_a_closed_execution_stays_closed(database: Database, tmp_path: Path) -> None:
    error = ExecutionError(type="test.failed", message="no", node_id="a")
    async with writing(database, tmp_path) as writer:
        await writer.write(record(3001, step("a", 3000), status="failed", closed_at=AT, error=error, history_events=9))
        await writer.write(record(9000, step("a", 9000, status="completed"), step("b", 9000)))
        execution, found = await rows(database)
    assert (execution.status, execution.error_type, execution.history_events) == ("failed", "test.failed", 9)
    assert (found["a"].status, list(found)) == ("running", ["a"])


async def test_the_end_of_an_earlier_attempt_ends_nothing(database: Database, tmp_path: Path) -> None:
    async with writing(database, tmp_path) as writer:
        gate = {"tenant_id": "ten_a", "inside": 1, "waiting": 0, "month": "2026-01", "month_count": 0}
        async with database.across.transaction() as connection:
            await connection.execute(tenant_gates.insert().values(gate))
            # It was tried again meanwhile.
            await connection.execute(executions.update().values(seq=9000, admission="held"))
        await writer.write(record(4001, step("a", 4000), status="failed", closed_at=AT))
        late, _ = await rows(database)
        async with database.across.read() as connection:
            inside = (await connection.execute(select(tenant_gates.c.inside))).scalar_one()
    assert (late.status, late.closed_at, late.admission, inside) == ("queued", None, "held", 1)


async def test_steps_that_are_told_after_a_termination_are_canceled_where_they_ran(
    database: Database, tmp_path: Path
) -> None:
    async with writing(database, tmp_path) as writer:
        async with database.across.transaction() as connection:
            await connection.execute(executions.update().values(status="terminated", closed_at=AT))
        await writer.write(record(1000, step("done", 900, status="completed"), step("ran", 1000)))
        execution, found = await rows(database)
    assert execution.status == "terminated"
    assert {id: (row.status, row.closed_at) for id, row in found.items()} == {
        "done": ("completed", None),
        "ran": ("canceled", AT),
    }


async def test_an_attempt_told_by_an_activity_keeps_the_input(database: Database, tmp_path: Path) -> None:
    async with writing(database, tmp_path) as writer:
        await writer.write(record(1000, step("a", 1000, input={"n": 1})))
        await writer.write(record(-1, step("a", 1004, attempt=2, reason="attempt 1 failed")))
        execution, found = await rows(database)
        sealer = await writer._vault.sealer("ten_a")
    assert (execution.seq, found["a"].attempt) == (1000, 2)
    place = step_place("ex_1", "a", "")
    assert sealer.open_json(found["a"].input_sealed, place) == {"n": 1}
    assert sealer.open_json(found["a"].detail_sealed, place)["reason"] == "attempt 1 failed"


async def test_a_record_of_an_execution_that_is_gone_is_left_out(database: Database, tmp_path: Path) -> None:
    async with writing(database, tmp_path) as writer:
        await writer.write(record(1000, step("a", 1000), execution_id="ex_gone"))
        await writer.write(record(1000, step("a", 1000)))
        _, found = await rows(database)
    assert [row.execution_id for row in found.values()] == ["ex_1"]


async def test_outputs_and_errors_are_sealed(database: Database, tmp_path: Path) -> None:
    async with writing(database, tmp_path) as writer:
        final = record(1001, step("a", 1000, output="canary-1", input="canary-2"), closed_at=AT, output="canary-3")
        await writer.write(final)
        execution, found = await rows(database)
        sealer = await writer._vault.sealer("ten_a")
    stored = b"".join(value for row in (execution, found["a"]) for value in row if isinstance(value, bytes))
    assert b"canary" not in stored
    assert sealer.open_json(execution.result_sealed, result_place("ex_1"))["output"] == "canary-3"


async def test_records_that_cannot_be_written_are_kept_and_tried_again(
    database: Database, owned: Database, tmp_path: Path
) -> None:
    async with writing(database, tmp_path) as writer:
        async with owned.across.transaction() as connection:
            await connection.execute(text("ALTER TABLE steps RENAME TO gone"))
        with pytest.raises(Exception, match=r"no such table|does not exist"):
            await writer.write(record(1000, step("a", 1000)))
        async with owned.across.transaction() as connection:
            await connection.execute(text("ALTER TABLE gone RENAME TO steps"))
        await writer.write(record(2000, step("b", 2000)))
        _, found = await rows(database)
    assert sorted(found) == ["a", "b"]


def test_merging_keeps_the_newest_of_each_step_and_its_input() -> None:
    older = record(1000, step("a", 1000, input=1), step("b", 900, input=2))
    newer = record(2000, step("a", 1002, attempt=2))
    merged = merge(newer, older)
    assert merged == merge(older, newer)
    assert [(s.node_id, s.seq, s.input) for s in merged.steps] == [("a", 1002, 1), ("b", 900, 2)]
    assert merged.seq == 2000


async def test_a_record_of_megabytes_is_written_and_read(database: Database, tmp_path: Path) -> None:
    text = random.Random(5).randbytes(5 * 2**19).hex()
    async with writing(database, tmp_path) as writer:
        bulk = step("bulk", 1, status="completed", input={"text": text}, output={"text": text})
        await writer.write(record(1, bulk, status="completed", closed_at=AT, output={"text": text}))
    sealer = await Vault(database, MasterKey.load_or_create(tmp_path / "master.json")).sealer("ten_a")
    async with database.across.read() as connection:
        execution = (await connection.execute(select(executions))).one()
        row = (await connection.execute(select(steps))).one()
    assert sealer.open_json(execution.result_sealed, result_place("ex_1"))["output"] == {"text": text}
    assert sealer.open_json(row.detail_sealed, step_place("ex_1", "bulk", ""))["output"] == {"text": text}


async def test_a_step_told_of_twice_with_one_number_is_what_was_told_last(database: Database, tmp_path: Path) -> None:
    """A workflow task whose worker was lost is made again, and what it reads may be answered otherwise."""
    async with writing(database, tmp_path) as writer:
        await writer.write(record(1, step("a", 1_000, status="completed", attempt=1)))
        await writer.write(record(2, step("a", 1_000, status="completed", attempt=2), status="completed", closed_at=AT))
    _, found = await rows(database)
    assert found["a"].attempt == 2
