"""A process with a scheduler: ``python -m tests.internal_jobs.schedules.clockwork '{…}'``, until it is killed."""

import asyncio
import sys
from pathlib import Path

import msgspec
from msgspec import Struct

from internal_jobs.client import Jobs
from internal_jobs.schedules.scheduler import Scheduler
from internal_jobs.wake import Waker
from plugins.storage.database import Database
from plugins.vault.keys import MasterKey, Vault


class Settings(Struct):
    database_url: str
    master_key: str


async def main(settings: Settings) -> None:
    database = Database(settings.database_url)
    vault = Vault(database, MasterKey.load(Path(settings.master_key)))
    jobs = Jobs(database=database, vault=vault, waker=Waker("redis://127.0.0.1:1"))
    print("ready", flush=True)
    await Scheduler(database=database, vault=vault, jobs=jobs).run()


if __name__ == "__main__":
    asyncio.run(main(msgspec.json.decode(sys.argv[1], type=Settings)))
