import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import msgspec
import pytest

from gateway.up.quotes import recorded_quotes
from internal_jobs.client import Jobs
from internal_jobs.enqueue import enqueue_plugin
from internal_jobs.wake import Waker
from plugins.builtin import builtins
from plugins.builtin.email.server import parse_smtp_url
from plugins.builtin.stock import DEFAULT_PROVIDER
from plugins.storage.database import Database
from plugins.vault.keys import MasterKey, Vault
from tests.plugins.mail import open_mail_server
from tests.plugins.target import open_target
from tests.sqlite import new_sqlite
from tests.user_workflows.codegen.lanes import Pair
from tests.user_workflows.lane import open_lane
from tests.user_workflows.reference.plugins import PLUGINS
from user_workflows.executions.starts import Starts
from user_workflows.records.writer import RecordWriter


@pytest.fixture(scope="session")
async def pair(temporal_address: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    """A lane that runs definitions interpreted and as generated code."""
    folder = tmp_path_factory.mktemp("generated")
    database = Database(new_sqlite(folder / "gateway.db"))
    vault = Vault(database, MasterKey.load_or_create(folder / "master.json"))
    jobs = Jobs(database=database, vault=vault, waker=Waker("redis://127.0.0.1:1"))
    async with open_mail_server() as mails, open_target() as target, AsyncExitStack() as stack:
        target.answer("/quotes/AAPL", 200, msgspec.to_builtins(recorded_quotes()["AAPL"]))
        smtp = parse_smtp_url(f"smtp://127.0.0.1:{mails.port}")
        plugins = [*PLUGINS, *builtins(smtp=smtp, quotes={DEFAULT_PROVIDER: target.url}), enqueue_plugin(jobs)]
        allow = [f"127.0.0.1:{port}" for port in (mails.port, target.port)]
        lane = await stack.enter_async_context(
            open_lane(database, temporal_address, folder, plugins=plugins, allow=allow)
        )
        written: set[str] = set()
        starts = Starts(
            database=database,
            vault=lane.vault,
            workflows=lane.workflows,
            temporal=lane.temporal,
            reception=lane.starts.reception,
            generated=written,
        )
        records = RecordWriter(database, lane.vault, starts.reception.gate)
        writing = asyncio.create_task(records.run())
        yield Pair(lane, folder, starts, written, records)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    await jobs.close()
    await database.close()
