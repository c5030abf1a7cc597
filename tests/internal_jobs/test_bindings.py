"""A job borrows what its row binds, while a message or a lease speaks of it."""

import pytest
from sqlalchemy import update

from internal_jobs.bindings import JobBindings
from internal_jobs.client import JobRequest, Jobs
from internal_jobs.outbox import Outbox
from plugins.sdk.credential import Bearer
from plugins.sdk.errors import Permanent
from plugins.storage.database import Database
from plugins.vault.credentials import Credentials
from plugins.vault.keys import Vault
from plugins.vault.lending import Borrower, Lender
from plugins.vault.table import credentials

AUTH = Bearer("auth")


async def test_a_job_borrows_what_its_row_binds_from_its_message_to_its_end(
    jobs: Jobs, database: Database, vault: Vault, tenant: str
) -> None:
    store = Credentials(database, vault)
    mine, other = [(await store.create(tenant, type="bearer", name="API", data={"token": "t"})).id for _ in range(2)]
    lender = Lender(database, vault, permit=JobBindings(database).refusal)
    job = await jobs.enqueue(tenant, JobRequest(type="http.request", credentials={"auth": mine}))

    def asking(plugin_id: str = "http.request", job_id: str = job.id) -> Borrower:
        return Borrower(tenant_id=tenant, plugin_id=plugin_id, step=plugin_id, job_id=job_id)

    async def refusal(borrower: Borrower, credential_id: str = mine) -> str:
        with pytest.raises(Permanent) as caught:
            await lender.lend(borrower, AUTH, credential_id)
        assert caught.value.type == "credential.notAllowed"
        return str(caught.value)

    assert f"job {job.id} is queued, and no worker's to run" in await refusal(asking())
    await Outbox(database, window=8).take()
    assert (await lender.lend(asking(), AUTH, mine)).allowed_hosts == ()
    # What cannot be read tells whether somebody tried.
    async with database.transaction(tenant) as connection:
        await connection.execute(update(credentials).values(data_sealed=b"unreadable"))
    assert "does not bind it to slot 'auth'" in await refusal(asking(), other)
    assert "does not bind it to slot 'auth' of acme.sync" in await refusal(asking("acme.sync"))
    assert "there is no job job_none" in await refusal(asking(job_id="job_none"))
    await jobs.cancel(tenant, job.id)
    assert f"job {job.id} is canceled, and no worker's to run" in await refusal(asking())
