"""Mails as jobs: who was refused for now is tried again alone."""

import asyncio

from internal_jobs.client import JobRequest, Jobs
from plugins.host.retry import Retry
from plugins.storage.database import Database
from plugins.vault.credentials import Credentials
from plugins.vault.keys import Vault
from tests.internal_jobs.watch import reach, show
from tests.plugins.mail import open_mail_server


async def test_the_next_attempt_of_a_job_goes_to_those_alone_who_have_no_mail_yet(
    database: Database, vault: Vault, jobs: Jobs, tenant: str, worker: "asyncio.Task[None]"
) -> None:
    async with open_mail_server() as mails:
        mails.refusals |= {"bob@example.com": "451 later", "cem@example.com": "550 unknown"}
        data = {"host": "127.0.0.1", "port": mails.port, "security": "none"}
        login = await Credentials(database, vault).create(tenant, type="smtp", name="mail", data=data)
        to = ["ann@example.com", "bob@example.com", "cem@example.com"]
        job = await jobs.enqueue(
            tenant,
            JobRequest(
                type="email.send",
                payload={"to": to, "subject": "Hello", "from": "robot@example.com"},
                credentials={"smtp": login.id},
                retry=Retry(max_attempts=50, initial_interval="50ms", max_interval="50ms"),
            ),
        )
        failed = await show(jobs, tenant, job.id, lambda job: job.attempts >= 2 and job.error is not None)
        assert failed.error is not None
        assert "451 for bob@example.com" in failed.error.message
        mails.refusals.pop("bob@example.com")
        done = await reach(jobs, tenant, job.id)
    assert done.status == "completed", done.error
    assert [refusal["address"] for refusal in done.result["refused"]] == ["cem@example.com"]
    assert [mail.recipients for mail in mails.mails] == [["ann@example.com"], ["bob@example.com"]]
    assert {mail.message["Message-ID"] for mail in mails.mails} == {done.result["messageId"]}
