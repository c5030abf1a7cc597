"""Internal jobs under fire (scorecard T1, T3, T5 to T8): ``make chaos`` prints the figures, CI runs a short form.

Three worker processes, one of them of the release before and one with a wrong clock, a PostgreSQL and a Valkey of their
own; the truth is what a server outside of all of it wrote down and synced before it answered. Faults are drawn from a
seed that is printed.
"""

import argparse
import asyncio
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import structlog
from msgspec import Struct
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from internal_jobs.client import Job, JobRequest
from plugins.host.ledger import idempotency_key
from tests.chaos.stage import NEW_TYPE, Stage, stage
from tests.internal_jobs.watch import CLOSED
from tests.internal_jobs.witness import witness

#: seconds of SIGSTOP: longer than lease and heartbeat, and longer than anybody would wait
STOPPED, LONG_STOPPED = 8.0, 90.0
#: seconds for which Valkey takes no more data
FULL = 4.0
#: seconds by which the clock of one worker is wrong
SKEW = 120
#: one job of so many is of a type that the old release does not know
NEW_EVERY = 10
#: seconds after the last fault in which everything must be settled
SETTLED_WITHIN = 120.0
#: seconds between two jobs that are asked for while faults strike
ASKED_EVERY = 0.2
#: seconds that a client goes on asking when it is not answered
PATIENCE = 30.0


class Report(Struct, frozen=True, kw_only=True):
    seed: int
    skew: int
    faults: dict[str, int]
    asked: int
    accepted: int
    #: askings that failed and were repeated under their key
    refused: int
    lost: int
    duplicates: int
    #: calls repeated under the key of the first: allowed, and counted
    repeated: int
    #: from the last fault until all was settled
    seconds: float

    @property
    def passed(self) -> bool:
        enough = self.accepted >= 0.95 * self.asked
        return enough and not self.lost and not self.duplicates and self.seconds <= SETTLED_WITHIN

    def __str__(self) -> str:
        return (
            f"seed {self.seed} · one clock wrong by {self.skew:+d} s · faults {self.faults} · "
            f"accepted {self.accepted} of {self.asked}, after {self.refused} refusals · "
            f"lost {self.lost} · duplicate effects {self.duplicates} · "
            f"repeated calls {self.repeated} · settled {self.seconds:.1f} s after the last fault · "
            f"load {os.getloadavg()[0]:.0f} · {'passed' if self.passed else 'FAILED'}"
        )


class Scene(Struct, frozen=True, kw_only=True):
    stage: Stage
    chance: random.Random


async def kill_worker(scene: Scene) -> None:
    if (victim := scene.stage.crew.pick(scene.chance)) is not None:
        victim.kill()
        await victim.wait()


async def suspend_worker(scene: Scene, seconds: float = STOPPED) -> None:
    if (victim := scene.stage.crew.pick(scene.chance)) is not None:
        victim.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        with suppress(ProcessLookupError):
            victim.send_signal(signal.SIGCONT)


async def suspend_worker_for_long(scene: Scene) -> None:
    await suspend_worker(scene, LONG_STOPPED)


async def kill_valkey(scene: Scene) -> None:
    await scene.stage.valkey.kill()


async def empty_valkey(scene: Scene) -> None:
    with suppress(RedisError):  # gone, it is empty
        await scene.stage.valkey.empty()


async def lose_disk_of_valkey(scene: Scene) -> None:
    await scene.stage.valkey.lose_disk()


async def fill_valkey(scene: Scene) -> None:
    await scene.stage.valkey.fill(FULL)


async def restart_postgres(scene: Scene) -> None:
    await scene.stage.postgres.restart()


FAULTS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "kill -9 worker": kill_worker,
    "kill -9 valkey": kill_valkey,
    "FLUSHALL": empty_valkey,
    "valkey's disk lost": lose_disk_of_valkey,
    "valkey full": fill_valkey,
    "postgres restarted": restart_postgres,
    "SIGSTOP worker": suspend_worker,
    "SIGSTOP worker 90 s": suspend_worker_for_long,
}


def draw(counts: dict[str, int], chance: random.Random) -> list[str]:
    faults = [name for name, count in counts.items() for _ in range(count)]
    chance.shuffle(faults)
    return faults


class Client:
    """Asks for jobs as a careful client does: again, under the same key, until it is answered."""

    def __init__(self, stage: Stage, url: str) -> None:
        self._stage = stage
        self._url = url
        self.asked = 0
        self.refused = 0
        self.accepted: list[Job] = []

    async def ask(self) -> None:
        self.asked += 1
        number, deadline = self.asked, time.monotonic() + PATIENCE
        type = "crew.post" if number % NEW_EVERY else NEW_TYPE
        request = JobRequest(type=type, payload={"url": self._url}, max_attempts=100, timeout="10s")
        while time.monotonic() < deadline:
            try:
                job = await self._stage.jobs.enqueue(self._stage.tenant, request, key=f"order-{number}")
            except (SQLAlchemyError, OSError):
                self.refused += 1
                await asyncio.sleep(0.25)
            else:
                self.accepted.append(job)
                return

    async def settled(self) -> list[Job]:
        """Return what became of every job, as soon as nothing changes any more or the time is over."""
        deadline = time.monotonic() + SETTLED_WITHIN
        return [await self._closed(job, deadline) for job in {job.id: job for job in self.accepted}.values()]

    async def _closed(self, job: Job, deadline: float) -> Job:
        while True:
            found = await self._stage.jobs.get(self._stage.tenant, job.id)
            assert found is not None
            if found.status in CLOSED or time.monotonic() > deadline:
                return found
            await asyncio.sleep(0.05)


async def play(folder: Path, *, jobs: int, counts: dict[str, int], seed: int, pause: float = 2.0) -> Report:
    """Enqueue jobs, and more of them while faults strike; then wait until all that was accepted is settled."""
    chance = random.Random(seed)
    skew, faults = chance.choice((SKEW, -SKEW)), draw(counts, chance)
    async with stage(folder, skew=skew) as put, witness(folder / "ledger", hold=0.05) as seen:
        scene, client = Scene(stage=put, chance=chance), Client(put, seen.url)
        await asyncio.gather(*(client.ask() for _ in range(jobs)))
        await seen.sees(1)

        async def strike() -> float:
            for name in faults:
                await asyncio.sleep(chance.uniform(0.5, 1.0) * pause)
                await FAULTS[name](scene)
            await put.crew.deploy()
            return time.monotonic()

        striking = asyncio.create_task(strike())
        while not striking.done():
            await client.ask()
            await asyncio.sleep(ASKED_EVERY)
        last = await striking
        settled = await client.settled()
        seconds = time.monotonic() - last
        wanted = {idempotency_key(put.tenant, job.id, job.type, 1) for job in settled}
        calls = Counter(seen.keys)
        return Report(
            seed=seed,
            skew=skew,
            faults={**Counter(faults), "new release": 1},
            asked=client.asked,
            accepted=len(settled),
            refused=client.refused,
            lost=sum(1 for job in settled if job.status != "completed") + len(wanted - calls.keys()),
            duplicates=len(calls.keys() - wanted),
            repeated=sum(calls.values()) - len(calls),
            seconds=seconds,
        )


async def main(jobs: int, seed: int) -> Report:
    counts = {
        "kill -9 worker": 50,
        "kill -9 valkey": 20,
        "FLUSHALL": 5,
        "valkey's disk lost": 2,
        "valkey full": 2,
        "postgres restarted": 3,
        "SIGSTOP worker": 3,
        "SIGSTOP worker 90 s": 1,
    }
    with tempfile.TemporaryDirectory(prefix="gw-chaos-", dir="/tmp") as name:
        return await play(Path(name), jobs=jobs, counts=counts, seed=seed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    print(f"seed {asked.seed}", flush=True)
    report = asyncio.run(main(asked.jobs, asked.seed))
    print(report)
    raise SystemExit(0 if report.passed else 1)
