"""Another service enqueues in transactions of its own: what it commits becomes a job, what it rolls back does not."""

import sqlite3
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from internal_jobs.client import Job, JobRequest, Jobs
from internal_jobs.errors import InvalidJob
from internal_jobs.inbox.contract import insert_job, job_inbox, job_row, job_sql
from internal_jobs.inbox.intake import Intake
from plugins.storage.database import Database
from plugins.vault.keys import Vault
from tests.internal_jobs.watch import reach

ECHO = JobRequest(type="crew.echo", payload={"value": "ä"}, tags=("bill",), queue="critical")


@pytest.fixture
def intake(database: Database, vault: Vault) -> Intake:
    return Intake(database, vault, on_due=lambda: None)


async def put(database: Database, *rows: dict[str, Any]) -> None:
    async with database.across.transaction() as connection:
        await connection.execute(job_inbox.insert(), list(rows))


async def listed(jobs: Jobs, tenant: str) -> list[Job]:
    return list((await jobs.list(tenant)).items)


async def test_what_is_committed_becomes_a_job_and_what_is_rolled_back_does_not(
    jobs: Jobs, database: Database, tenant: str, intake: Intake
) -> None:
    async with database.engine.connect() as connection:
        await connection.execute(insert_job(tenant, ECHO))
        await connection.rollback()
    kept = insert_job(tenant, ECHO)
    async with database.engine.begin() as connection:
        await connection.execute(kept)
    assert await intake.take_in() == 1
    assert await intake.take_in() == 0
    (job,) = await listed(jobs, tenant)
    assert job.id == kept.compile().params["id"]
    assert (job.status, job.payload, job.tags, job.queue) == ("queued", ECHO.payload, ECHO.tags, "critical")


async def test_a_row_is_one_job_however_many_workers_take_it_in(
    jobs: Jobs, database: Database, vault: Vault, tenant: str, intake: Intake
) -> None:
    rows = [job_row(tenant, ECHO) for _ in range(30)]
    await put(database, *rows)
    drafted = Intake(database, vault, on_due=lambda: None)
    await intake.take_in()
    await drafted.take_in()
    assert {job.id for job in await listed(jobs, tenant)} == {row["id"] for row in rows}
    await put(database, rows[0])
    await intake.take_in()
    assert len(await listed(jobs, tenant)) == 30, "an id that is a job's already adds nothing"


async def test_of_equal_keys_the_first_is_made_however_they_come(
    jobs: Jobs, database: Database, tenant: str, intake: Intake
) -> None:
    made = await jobs.enqueue(tenant, ECHO, key="order-7")
    await put(database, job_row(tenant, ECHO, key="order-7"), job_row(tenant, ECHO, key="order-8"))
    await put(database, job_row(tenant, ECHO, key="order-8"))
    await intake.take_in()
    assert len(await listed(jobs, tenant)) == 2
    assert (await jobs.enqueue(tenant, ECHO, key="order-7")).id == made.id


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ("not json", "malformed"),
        ('{"payload": {}}', "type"),
        ('{"type": "x", "colour": "red"}', "colour"),
        ('{"type": "x", "debounce": "5s"}', "/debounce"),
        ('{"type": "x", "delay": "4000d"}', "/delay"),
    ],
)
async def test_what_cannot_become_a_job_is_a_dead_letter_that_says_why(
    jobs: Jobs, database: Database, tenant: str, intake: Intake, request_: str, reason: str
) -> None:
    good = job_row(tenant, ECHO)
    await put(database, job_row(tenant, ECHO) | {"request": request_}, good)
    await intake.take_in()
    (dead,) = (await jobs.list(tenant, status="dead")).items
    assert dead.error is not None
    assert dead.error.type == "job.invalid"
    assert reason in dead.error.message
    assert dead.payload == {"request": request_}
    assert (await jobs.get(tenant, good["id"])) is not None


async def test_a_request_that_could_never_be_kept_is_refused_where_it_is_made(tenant: str) -> None:
    with pytest.raises(InvalidJob):
        insert_job(tenant, JobRequest(type="x", debounce="1s"))


@pytest.mark.usefixtures("worker")
async def test_plain_sql_of_another_service_runs(
    jobs: Jobs, database: Database, tenant: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """By the driver alone, and by the very statement that the documentation shows."""
    own_id = "substr(md5(random()::text || clock_timestamp()::text), 1, 26)"
    if database.is_sqlite:
        own_id = "lower(hex(randomblob(13)))"
    plain = f"""INSERT INTO job_inbox (tenant_id, id, request, idempotency_key)
        VALUES ('{tenant}', 'job_' || {own_id}, '{{"type": "crew.echo", "payload": {{"value": 2}}}}', 'two')"""
    if database.is_sqlite:
        connection = sqlite3.connect(tmp_path / "gateway.db")
        with connection:
            connection.execute(*job_sql(tenant, ECHO, style="qmark"))
            connection.execute(plain)
        connection.close()
    else:
        service = await asyncpg.connect(await url_of_billing(request.getfixturevalue("postgres_url")))
        async with service.transaction():
            statement, values = job_sql(tenant, ECHO, style="dollar")
            await service.execute(statement, *values)
            await service.execute(plain)
        await service.close()
    while len(made := await listed(jobs, tenant)) < 2:
        pass
    assert {(await reach(jobs, tenant, job.id)).result for job in made} == {"ä", 2}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_service_on_sync_sqlalchemy_needs_nothing_of_ours_but_the_statement(
    jobs: Jobs, tenant: str, tmp_path: Path, intake: Intake
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/gateway.db")
    with engine.begin() as connection:
        connection.execute(insert_job(tenant, ECHO))
    engine.dispose()
    await intake.take_in()
    assert len(await listed(jobs, tenant)) == 1


async def url_of_billing(postgres_url: str) -> str:
    """Make the service's role as the documentation says, and return how it connects."""
    owner = await asyncpg.connect(postgres_url)
    if not await owner.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = 'billing'"):
        await owner.execute("CREATE ROLE billing LOGIN")
    await owner.execute("GRANT USAGE ON SCHEMA public TO billing; GRANT INSERT ON job_inbox TO billing")
    await owner.close()
    return make_url(postgres_url).set(username="billing").render_as_string(hide_password=False)
