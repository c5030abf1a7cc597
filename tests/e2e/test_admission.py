"""A cap under kill -9: an outsider never sees more at once than it allows, and everybody gets in and out."""

import random
import time
from typing import Any

import httpx
import pytest

from tests.e2e.installation import CLOSED, Installation, wait_for
from tests.figures import Figures
from tests.user_workflows.drawing import edges

CAP = 3
#: each at least once, where there are kills enough
VICTIMS = ("user-workflows", "serve", "valkey", "temporal", "internal-jobs")


def definition(installation: Installation, round: str) -> dict[str, Any]:
    """Tell the ledger of the beginning and of the end of each execution; what is told twice is known by its name."""

    def tell(id: str, what: str) -> dict[str, Any]:
        body = {"round": round, "what": what, "execution": "{{ execution.id }}"}
        config = {"method": "POST", "url": installation.ledger.url, "body": body, "idempotent": True}
        # Whatever is away for a while is back within this.
        return {"id": id, "pluginId": "http.request", "config": config, "retry": {"maxAttempts": 20}}

    pause = {"id": "pause", "pluginId": "wait", "config": {"duration": "200ms"}}
    return {
        "nodes": [tell("enter", "in"), pause, tell("leave", "out")],
        "edges": edges("enter>pause", "pause>leave"),
        "concurrency": {"limit": CAP},
    }


def most_at_once(entries: list[dict[str, Any]]) -> int:
    """Return how many executions at most were between their first entry and their last."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for place, entry in enumerate(entries):
        first.setdefault(entry["execution"], place)
        last[entry["execution"]] = place
    return max(
        sum(first[execution] <= place <= last[execution] for execution in first) for place in range(len(entries))
    )


def seen(installation: Installation, round: str) -> list[dict[str, Any]]:
    return [entry for entry in installation.ledger.entries() if entry.get("round") == round]


def start(installation: Installation, workflow: str, key: str) -> str:
    """Start one execution, through any outage of the API."""

    def accepted() -> str | None:
        try:
            return installation.start(workflow, **{"Idempotency-Key": key})
        except (httpx.TransportError, AssertionError):
            return None

    return wait_for(accepted, f"start {key}")


def statuses(installation: Installation, ids: list[str]) -> list[str] | None:
    """Return how all of them ended, once all have."""
    try:
        found = [installation.call("GET", f"/v1/executions/{id}")["status"] for id in ids]
    except (httpx.TransportError, AssertionError):
        return None
    return found if all(status in CLOSED for status in found) else None


def under_fire(installation: Installation, figures: Figures, *, starts: int, kills: int, patience: float) -> None:
    seed = random.randrange(2**32)
    chance, round = random.Random(seed), f"cap {seed}"
    workflow = installation.publish(definition(installation, round), name=round)
    began = time.monotonic()
    ids = [start(installation, workflow, f"{round}:{number}") for number in range(starts // 2)]
    killed: list[str] = []
    others = [*chance.sample(VICTIMS[1:], len(VICTIMS) - 1), *chance.choices(VICTIMS, k=kills)]
    for number, victim in enumerate([VICTIMS[0], *others][:kills]):
        # In the middle of work: when some more have come in since the last kill.
        wait_for(lambda: len(seen(installation, round)) > 3 * len(killed) or None, "executions to move", patience)
        installation.process(victim).kill()
        killed.append(victim)
        batch = range(starts // 2 + number * starts // (2 * kills), starts // 2 + (number + 1) * starts // (2 * kills))
        ids += [start(installation, workflow, f"{round}:{each}") for each in batch]
    ended = wait_for(lambda: statuses(installation, ids), "the end of all", patience)
    most = most_at_once(seen(installation, round))
    print(
        f"\nT-caps · seed {seed} · cap {CAP} · {len(set(ids))} starts · killed {killed} · most at once {most} · "
        f"completed {ended.count('completed')} · {time.monotonic() - began:.1f} s"
    )
    figures("caps", starts=len(set(ids)), kills=kills, completed=ended.count("completed"), most_at_once=float(most))
    assert len(set(ids)) == starts
    assert set(ended) == {"completed"}, ended
    assert most <= CAP
    assert {entry["execution"] for entry in seen(installation, round)} == set(ids)


def test_a_cap_holds_though_processes_are_killed(installation: Installation, figures: Figures) -> None:
    under_fire(installation, figures, starts=24, kills=2, patience=120)


@pytest.mark.slow
def test_a_cap_of_three_holds_for_two_hundred_though_every_process_is_killed(
    installation: Installation, figures: Figures
) -> None:
    under_fire(installation, figures, starts=200, kills=15, patience=600)
