"""Mails as steps: who was refused for now is tried again alone."""

from pathlib import Path

import pytest

from plugins.builtin.email.connections import SmtpConnections
from plugins.storage.database import Database
from tests.plugins.builtin.email.posting import sender_by
from tests.plugins.mail import open_mail_server
from tests.user_workflows.lane import open_lane
from tests.user_workflows.reference.plugins import PLUGINS


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_the_next_attempt_of_a_step_goes_to_those_alone_who_have_no_mail_yet(
    database: Database, temporal_address: str, tmp_path: Path
) -> None:
    connections = SmtpConnections()
    async with open_mail_server() as mails:
        send = sender_by(mails.port, connections)
        mails.refusals |= {"bob@example.com": "451 later", "cem@example.com": "550 unknown"}
        config = {"to": ["ann@example.com", "bob@example.com", "cem@example.com"], "subject": "Hello"}
        retry = {"maxAttempts": 50, "initialInterval": "100ms", "maxInterval": "100ms"}
        definition = {"nodes": [{"id": "mail", "pluginId": "email.send", "config": config, "retry": retry}]}
        async with open_lane(
            database, temporal_address, tmp_path, plugins=[*PLUGINS, send], allow=["127.0.0.0/8"]
        ) as lane:
            execution = await lane.start(await lane.publish(definition))
            await mails.receives(1)
            mails.refusals.pop("bob@example.com")
            finished = await lane.finish(execution)
        assert finished.status == "completed", finished.error
        sent = finished.output["mail"]
        assert [refusal["address"] for refusal in sent["refused"]] == ["cem@example.com"]
        assert [mail.recipients for mail in mails.mails] == [["ann@example.com"], ["bob@example.com"]]
        assert {mail.message["Message-ID"] for mail in mails.mails} == {sent["messageId"]}
        assert mails.connections == 1, "attempts follow each other on one connection"
        await connections.close()
