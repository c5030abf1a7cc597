"""Random definitions on a worker process that is killed at random points, and what the world outside has seen of it.

``make kills`` runs this for as long as one likes, from a new number each time; `test_kills` is its short form.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from plugins.host.ledger import idempotency_key
from plugins.storage.database import Database
from tests import servers
from tests.e2e.ledger import Ledger, open_ledger
from tests.sqlite import new_sqlite
from tests.user_workflows.lane import Lane, Place, open_lane
from tests.user_workflows.reference.drawings import ACTING, CHEAP, UNSAFE, examples
from tests.user_workflows.reference.verdict import Steps, is_unknown, judge, nodes_of
from tests.user_workflows.reference.worker import Orders
from user_workflows.executions.views import Execution

#: of the world, in which a read may be answered otherwise each time
_ANSWERS: tuple[Any, ...] = (None, True, 1, "text", [1, 2], [])

#: how many of the calls are told at first to come again later, and after how many seconds: too many for a step to keep
#: its slot meanwhile
_REFUSED, _BACK_OFF = 0.15, 1.5

#: seconds in which every execution ends, on a machine with other work too
_PATIENCE = 120.0


class Aim(Struct, frozen=True):
    """When to kill: around a call of that effect, the so-and-so-manieth."""

    effect: Literal["read", "idempotent", "unsafe"]
    #: before the world has written the call down, or after it, unanswered; while it backs off, for the world asked it
    #: to come again later; or so many seconds after its answer
    moment: Literal["before", "after", "backingOff"] | float
    number: int


class Victim(Struct, frozen=True):
    """The call in whose middle a worker was killed."""

    aim: Aim
    key: str
    #: how many workers had been killed before
    deaths: int


class Killer:
    """The world that a worker's calls reach, and the hand that kills it."""

    def __init__(self, number: int) -> None:
        self.random = random.Random(number)
        self.victims: list[Victim] = []
        self.deaths = 0
        #: keys of calls that were told to come again later
        self.refused: set[str] = set()
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[bytes] | None = None
        self._aim: Aim | None = None
        self._left = 0
        #: of a call that kills its worker each time
        self.deadly: Any = None

    def aim(self, worker: "subprocess.Popen[bytes]", aim: Aim | None) -> None:
        with self._lock:
            self._worker, self._aim, self._left = worker, aim, 0 if aim is None else aim.number

    def kill(self, worker: "subprocess.Popen[bytes]") -> None:
        """Kill a worker that lives, and return when it is dead and counted."""
        with self._lock:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
                self.deaths += 1

    def receive(self, entry: dict[str, Any], write: Callable[[dict[str, Any]], None]) -> bytes | None:
        """Take a call, as `tests.e2e.ledger` hands it over."""
        aim, worker = self._hit(entry)
        if self.deadly is not None and entry["value"] == self.deadly:
            self.kill(worker)
            return None
        if self._refuses(entry, aim):
            if aim is not None:
                self.victims.append(Victim(aim, entry["key"], self.deaths))
                threading.Timer(_BACK_OFF / 4, self.kill, [worker]).start()
            return json.dumps({"again": _BACK_OFF}).encode()
        if aim is not None and aim.moment == "before":
            self._strike(aim, entry, worker)
            return None
        write(entry)
        if aim is not None and aim.moment == "after":
            self._strike(aim, entry, worker)
            return None
        if aim is not None and isinstance(aim.moment, float):
            threading.Timer(aim.moment, self.kill, [worker]).start()
        changes = entry["effect"] == "read" and self.random.random() < 0.3
        return json.dumps({"answer": self.random.choice(_ANSWERS) if changes else entry["value"]}).encode()

    def _refuses(self, entry: dict[str, Any], aim: Aim | None) -> bool:
        """Tell whether a call has to come again later, as each is told once at most."""
        if entry["key"] in self.refused:
            return False
        refuses = aim.moment == "backingOff" if aim is not None else self.random.random() < _REFUSED
        if refuses:
            self.refused.add(entry["key"])
        return refuses

    def _hit(self, entry: dict[str, Any]) -> "tuple[Aim | None, subprocess.Popen[bytes]]":
        """Return what is aimed at this call, if anything, and the worker that makes it."""
        with self._lock:
            assert self._worker is not None
            if self._aim is None or entry["effect"] != self._aim.effect:
                return None, self._worker
            if self._aim.moment == "backingOff" and entry["key"] in self.refused:
                return None, self._worker
            self._left -= 1
            return self._aim if self._left == 0 else None, self._worker

    def _strike(self, aim: Aim, entry: dict[str, Any], worker: "subprocess.Popen[bytes]") -> None:
        self.victims.append(Victim(aim, entry["key"], self.deaths))
        self.kill(worker)


class Report(Struct, frozen=True, kw_only=True):
    """What came of it."""

    executions: int
    deaths: int
    victims: list[Victim]
    effects: int
    #: calls that came again later, as they were asked to
    backed_off: int
    #: idempotent effects that reached the world more than once, under one key
    repeated: int
    #: unsafe effects of which nobody knows
    unknown: int

    def __str__(self) -> str:
        return (
            f"{self.executions} executions, {self.deaths} workers killed, {len(self.victims)} of them at work · "
            f"{self.backed_off} calls backed off · {self.effects} effects, {self.repeated} repeated under their key, "
            f"{self.unknown} of unknown outcome"
        )


class Ordeal:
    """One lane whose workers are killed."""

    def __init__(self, lane: Lane, killer: Killer, ledger: Ledger, hire: Callable[[], "subprocess.Popen[bytes]"]):
        self.lane = lane
        self.killer = killer
        self.ledger = ledger
        self._hire = hire
        self._begun: list[tuple[Execution, dict[str, Any], Any]] = []

    async def endure(self, aims: list[Aim], each: int, number: int) -> Report:
        """Begin `each` definitions for every aim, let the last worker live, and judge what has come of all."""
        drawn = iter(examples(each * len(aims), number))
        for aim in aims:
            worker = self._hire()
            self.killer.aim(worker, aim)
            for (definition, trigger), _ in zip(drawn, range(each), strict=False):
                hasty = in_haste(definition)
                self._begun.append((await self.lane.start(await self.lane.publish(hasty), trigger), hasty, trigger))
            await self._watch(worker)
            await asyncio.to_thread(self.killer.kill, worker)
        worker = self._hire()
        self.killer.aim(worker, None)
        try:
            return await self._judge()
        finally:
            worker.kill()
            await asyncio.to_thread(worker.wait)

    async def _watch(self, worker: "subprocess.Popen[bytes]") -> None:
        """Return when the worker is dead, or when everything has ended and no call is left to die of."""
        dying = asyncio.create_task(asyncio.to_thread(worker.wait))
        ending = asyncio.create_task(self._end())
        await asyncio.wait([dying, ending], return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()

    async def _end(self) -> None:
        for execution, _, _ in self._begun:
            await self.lane.executions.wait(self.lane.tenant_id, execution.id, _PATIENCE)

    async def live_on(self, execution: Execution) -> Execution:
        """Hire worker after worker until an execution has ended."""
        while True:
            worker = self._hire()
            self.killer.aim(worker, None)
            dying = asyncio.create_task(asyncio.to_thread(worker.wait))
            ending = asyncio.create_task(self.lane.executions.wait(self.lane.tenant_id, execution.id, 60))
            await asyncio.wait([dying, ending], return_when=asyncio.FIRST_COMPLETED)
            if ending.done():
                worker.kill()
                await dying
                return ending.result()
            ending.cancel()

    async def _judge(self) -> Report:
        entries: dict[str, list[dict[str, Any]]] = {}
        steps: dict[str, Steps] = {}
        for execution, definition, trigger in self._begun:
            ended = await self.lane.executions.wait(self.lane.tenant_id, execution.id, _PATIENCE)
            assert ended.is_closed, f"{execution.id} has not ended: {definition}"
            steps[execution.id] = await judge(self.lane, ended, definition, trigger)
        for entry in self.ledger.entries():
            if entry["effect"] != "read":
                entries.setdefault(entry["key"], []).append(entry)
        unknown = set[str]()
        seen = set[str]()
        for execution, definition, _ in self._begun:
            for key in self._weigh(execution, definition, steps[execution.id], entries, unknown):
                seen.add(key)
        assert entries.keys() <= seen, "an effect of no step has reached the world"
        for victim in self.killer.victims:
            if victim.aim.moment == "backingOff":
                # Its next attempt may have been under way when a later worker was killed.
                is_last = victim.deaths + 1 == self.killer.deaths
                assert not (is_last and victim.key in unknown), "nothing had happened when it was killed"
            elif victim.aim.effect == "unsafe":
                assert victim.key in unknown, "killed in the middle of it, and yet known"
            elif victim.aim.effect == "idempotent":
                assert len(entries[victim.key]) >= (2 if victim.aim.moment == "after" else 1)
        return Report(
            executions=len(self._begun),
            deaths=self.killer.deaths,
            victims=self.killer.victims,
            effects=len(entries),
            backed_off=len(self.killer.refused),
            repeated=sum(len(made) > 1 for made in entries.values()),
            unknown=len(unknown),
        )

    def _weigh(
        self,
        execution: Execution,
        definition: dict[str, Any],
        steps: Steps,
        entries: dict[str, list[dict[str, Any]]],
        unknown: set[str],
    ) -> list[str]:
        """Hold the effects of one execution against its steps, and return the keys that it may have used."""
        keys = []
        calls = {n["id"]: n["pluginId"] for n in nodes_of(definition) if n["pluginId"] in (ACTING, UNSAFE)}
        off = {n["id"] for n in nodes_of(definition) if n.get("disabled")}
        for (node_id, path), step in steps.items():
            if node_id not in calls:
                continue
            key = idempotency_key(self.lane.tenant_id, execution.id, ".".join((node_id, *map(str, path))), 1)
            made = entries.get(key, [])
            if step.status in ("completed", "failed") and node_id not in off:
                keys.append(key)
            if step.status == "completed" and node_id not in off:
                assert made, f"{execution.id} {node_id} {path} has not acted"
                assert all(entry["value"] == step.output for entry in made), "it was repeated with another config"
            if calls[node_id] == UNSAFE:
                assert len(made) <= 1, f"{execution.id} {node_id} {path} acted twice"
            if is_unknown(step):
                assert calls[node_id] == UNSAFE
                unknown.add(key)
        return keys


def in_haste(definition: dict[str, Any]) -> dict[str, Any]:
    """Return the definition with short timeouts: as long lasts the lease that a killed worker leaves."""
    changed: dict[str, Any] = json.loads(json.dumps(definition))
    for node in nodes_of(changed):
        if node["pluginId"] in (CHEAP, ACTING, UNSAFE):
            node["timeout"] = "3s"
    return changed


def random_aims(chance: random.Random, count: int) -> list[Aim]:
    effects: list[Literal["read", "idempotent", "unsafe"]] = ["read", "idempotent", "unsafe"]
    return [
        Aim(
            chance.choice(effects),
            chance.choice(["before", "after", "backingOff", round(chance.uniform(0, 0.5), 3)]),
            chance.randint(1, 4),
        )
        for _ in range(count)
    ]


@asynccontextmanager
async def open_ordeal(
    temporal_address: str, folder: Path, number: int, *, heartbeat_timeout: float | None = None
) -> AsyncIterator[Ordeal]:
    """Open a lane without a worker, over SQLite, with a world and a killer.

    Args:
        temporal_address: of a real server.
        folder: for the database and the key.
        number: of the killer's and the world's choices.
        heartbeat_timeout: seconds after which a lost worker is noticed, instead of the usual ones.
    """
    url = new_sqlite(folder / "gateway.db")
    database = Database(url)
    killer = Killer(number)
    with open_ledger(folder / "ledger.jsonl", killer.receive) as ledger:
        async with open_lane(database, temporal_address, folder, works=False) as lane:
            orders = Orders(
                database_url=url,
                temporal_address=temporal_address,
                folder=str(folder),
                place=Place(lane.tenant_id, lane.temporal.namespace),
                world_url=ledger.url,
                heartbeat_timeout=heartbeat_timeout,
            )

            def hire() -> "subprocess.Popen[bytes]":
                with (folder / "worker.log").open("ab") as log:
                    command = [sys.executable, "-m", "tests.user_workflows.reference.worker"]
                    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
                assert worker.stdin is not None
                worker.stdin.write(msgspec.json.encode(orders))
                worker.stdin.close()
                return worker

            yield Ordeal(lane, killer, ledger, hire)
    await database.close()


async def endure(temporal_address: str, folder: Path, aims: list[Aim], *, each: int, number: int) -> Report:
    async with open_ordeal(temporal_address, folder, number) as ordeal:
        return await ordeal.endure(aims, each, number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--number", type=int, default=None, help="where to begin; the same one draws the same")
    asked = parser.parse_args()
    number = random.SystemRandom().randrange(10**6) if asked.number is None else asked.number
    until = time.monotonic() + 60 * asked.minutes
    totals: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="gateway-kills-") as name:
        server = servers.temporal_server(Path(name) / "temporal")
        with servers.running(server):
            while time.monotonic() < until:
                folder = Path(name) / str(number)
                folder.mkdir()
                aims = random_aims(random.Random(number), 8)
                print(f"number {number}:", end=" ", flush=True)
                report = asyncio.run(endure(server.address, folder, aims, each=8, number=number))
                print(report, flush=True)
                totals.update(executions=report.executions, deaths=report.deaths, effects=report.effects)
                number += 1
    print(
        f"{totals['executions']} executions outlived {totals['deaths']} workers; {totals['effects']} effects as allowed"
    )


if __name__ == "__main__":
    main()
