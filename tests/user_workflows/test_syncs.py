"""A sync as a step: its worker is killed, and the next one goes on where it was."""

import asyncio
import sys
from pathlib import Path

import msgspec
import pytest

from plugins.builtin.sync.plugin import data_sync
from plugins.storage.database import Database
from plugins.vault.credentials import Credentials
from tests.internal_jobs.test_syncs import payload
from tests.plugins.builtin.sync.catalogue import open_catalogue
from tests.plugins.builtin.sync.shop import open_shop
from tests.user_workflows.lane import Place, open_lane
from tests.user_workflows.reference.plugins import PLUGINS
from tests.user_workflows.reference.worker import Orders


async def start_worker(orders: Orders) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.user_workflows.reference.worker"), stdin=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(orders))
    process.stdin.close()
    return process


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_step_goes_on_from_its_checkpoint_when_its_worker_is_killed(
    database: Database, temporal_address: str, postgres_url: str, tmp_path: Path
) -> None:
    async with (
        open_shop(postgres_url) as shop,
        open_catalogue(395, size=20, pause=0.05) as catalogue,
        open_lane(database, temporal_address, tmp_path, works=False, plugins=[*PLUGINS, data_sync]) as lane,
    ):
        credential = await Credentials(database, lane.vault).create(
            lane.tenant_id, type="database", name="shop", data={"url": shop.url}
        )
        orders = Orders(
            database_url=database.engine.url.render_as_string(hide_password=False),
            temporal_address=temporal_address,
            folder=str(tmp_path),
            place=Place(lane.tenant_id, lane.temporal.namespace),
            world_url="http://127.0.0.1:1",
            allow=("127.0.0.0/8",),
            heartbeat_timeout=4.0,
        )
        sync = {
            **{"id": "copy", "pluginId": "data.sync", "config": payload(catalogue), "timeout": "3s"},
            "credentials": {"database": credential.id},
        }
        workers = [await start_worker(orders)]
        try:
            execution = await lane.start(await lane.publish({"nodes": [sync]}))
            await catalogue.asks(8)
            workers[0].kill()
            await workers[0].wait()
            asked = len(catalogue.asked)
            workers.append(await start_worker(orders))
            finished = await lane.executions.wait(lane.tenant_id, execution.id, 60)
        finally:
            for worker in workers:
                if worker.returncode is None:
                    worker.kill()
                await worker.wait()
        assert finished.status == "completed", finished.error
        assert finished.output == {"copy": {"pages": 20, "records": 395, "complete": True, "cursor": None}}
        assert await shop.rows() == catalogue.records
    assert catalogue.asked[asked] >= 100, "it went on, and did not begin again"
    assert len(catalogue.asked) <= catalogue.pages + 2
