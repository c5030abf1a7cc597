import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from plugins import Effect, Permanent, Transient
from plugins.host.call import Outcome
from plugins.host.errors import Overtaken
from plugins.host.ledger import Claim, Hold, Ledger, effects, idempotency_key
from plugins.storage.database import Database, now
from plugins.vault.keys import Vault

OUTCOME = Outcome(port="output", output={"id": "canary"})


def claim(tenant_id: str, effect: Effect = "idempotent", *, lease: float = 30, key: str = "k", **changes: Any) -> Claim:
    return Claim(
        tenant_id=tenant_id,
        key=key,
        origin="ex_1",
        step="node",
        generation=1,
        plugin="a.b",
        effect=effect,
        lease=lease,
        **changes,
    )


async def take(ledger: Ledger, wish: Claim, *, wait: float = 0) -> Hold:
    found = await ledger.begin(wish, wait=wait)
    assert isinstance(found, Hold)
    return found


async def refusal(ledger: Ledger, wish: Claim, *, wait: float = 0) -> Permanent | Transient:
    with pytest.raises((Permanent, Transient)) as caught:
        await ledger.begin(wish, wait=wait)
    assert isinstance(caught.value, Permanent | Transient)
    return caught.value


def test_a_key_depends_on_everything_that_makes_a_call_another_call() -> None:
    keys = {
        idempotency_key("ten_a", "ex_1", "node", 1),
        idempotency_key("ten_b", "ex_1", "node", 1),
        idempotency_key("ten_a", "ex_2", "node", 1),
        idempotency_key("ten_a", "ex_1", "node[1]", 1),
        idempotency_key("ten_a", "ex_1", "node", 2),
        idempotency_key("ten_a", "ex_1n", "ode", 1),
    }
    assert len(keys) == 6
    assert all(len(key) == 64 for key in keys)


def test_a_key_never_changes_between_releases() -> None:
    """A repeat after an upgrade must find the row that was written before it."""
    assert (
        idempotency_key("ten_a", "ex_1", "node", 1)
        == "1d42944a06f1a5d36402750425da505e2fccd2c555e502874e694466c6ee040f"
    )


async def test_a_done_row_gives_its_outcome_to_every_repeat(ledger: Ledger, tenant_id: str) -> None:
    hold = await take(ledger, claim(tenant_id, "unsafe"))
    assert await ledger.finish(hold, OUTCOME)
    for _ in range(3):
        assert await ledger.begin(claim(tenant_id, "unsafe"), wait=0) == OUTCOME


async def test_a_stored_failure_fails_every_repeat_the_same_way(ledger: Ledger, tenant_id: str) -> None:
    hold = await take(ledger, claim(tenant_id, "unsafe"))
    assert await ledger.fail(hold, Permanent("no such user", type="http.404", status=404))
    error = await refusal(ledger, claim(tenant_id, "unsafe"))
    assert (type(error), error.message, error.type, error.status) == (Permanent, "no such user", "http.404", 404)


async def test_outcomes_are_stored_sealed(database: Database, ledger: Ledger, tenant_id: str) -> None:
    await ledger.finish(await take(ledger, claim(tenant_id)), OUTCOME)
    async with database.across.read() as connection:
        row = (await connection.execute(select(effects))).one()
    assert row.state == "done"
    assert "canary" not in repr(row)


async def test_a_released_row_is_taken_again(ledger: Ledger, tenant_id: str) -> None:
    first = await take(ledger, claim(tenant_id, "unsafe"))
    assert await ledger.release(first)
    assert (await take(ledger, claim(tenant_id, "unsafe"))).fence == first.fence + 1


async def test_a_live_lease_is_waited_for_and_its_outcome_taken(ledger: Ledger, tenant_id: str) -> None:
    hold = await take(ledger, claim(tenant_id, "unsafe"))
    waiting = asyncio.create_task(ledger.begin(claim(tenant_id, "unsafe"), wait=10))
    await asyncio.sleep(0)
    await ledger.finish(hold, OUTCOME)
    assert await waiting == OUTCOME


async def test_who_waited_in_vain_is_told_when_to_come_again(ledger: Ledger, tenant_id: str) -> None:
    await take(ledger, claim(tenant_id, lease=30))
    error = await refusal(ledger, claim(tenant_id), wait=0.05)
    assert isinstance(error, Transient)
    assert (error.type, error.effect) == ("effect.inProgress", "none")
    assert error.retry_after == pytest.approx(30, abs=5)


@pytest.mark.parametrize("on_unknown", ["fail", "retry"])
async def test_a_lease_that_ran_out_is_taken_over_when_a_repeat_does_no_harm(
    ledger: Ledger, tenant_id: str, on_unknown: Any
) -> None:
    wish = claim(tenant_id, "unsafe" if on_unknown == "retry" else "idempotent", lease=0.1, on_unknown=on_unknown)
    first = await take(ledger, wish)
    second = await take(ledger, wish, wait=10)
    assert second.fence == first.fence + 1


async def test_a_lease_that_ran_out_is_outcome_unknown_when_a_repeat_might_act_twice(
    ledger: Ledger, tenant_id: str
) -> None:
    await take(ledger, claim(tenant_id, "unsafe", lease=0.1))
    error = await refusal(ledger, claim(tenant_id, "unsafe"), wait=10)
    assert isinstance(error, Permanent)
    assert error.type == "effect.outcomeUnknown"


async def test_an_abandoned_row_is_unknown_at_once(ledger: Ledger, tenant_id: str) -> None:
    await ledger.abandon(await take(ledger, claim(tenant_id, "unsafe")))
    assert (await refusal(ledger, claim(tenant_id, "unsafe"))).type == "effect.outcomeUnknown"
    assert (await take(ledger, claim(tenant_id, "idempotent"))).fence == 2


async def test_a_late_finisher_does_not_overwrite_who_took_over(ledger: Ledger, tenant_id: str) -> None:
    late = await take(ledger, claim(tenant_id, lease=0))
    newer = await take(ledger, claim(tenant_id))
    assert not await ledger.finish(late, Outcome(port="output", output="late"))
    assert not await ledger.release(late)
    assert not await ledger.abandon(late)
    assert await ledger.finish(newer, OUTCOME)
    assert not await ledger.finish(late, Outcome(port="output", output="late"))
    assert await ledger.begin(claim(tenant_id), wait=0) == OUTCOME


async def test_tenants_do_not_meet_even_under_one_key(database: Database, vault: Vault, tenant_id: str) -> None:
    ledger = Ledger(database, vault)
    await ledger.finish(await take(ledger, claim(tenant_id)), OUTCOME)
    assert (await take(ledger, claim("ten_other"))).fence == 1


@pytest.mark.parametrize("left", ["released", "ended"])
async def test_of_many_processes_that_want_a_free_row_one_gets_it(
    database: Database, vault: Vault, tenant_id: str, left: str
) -> None:
    ledgers = [Ledger(database, vault) for _ in range(20)]
    first = await take(ledgers[0], claim(tenant_id))
    await (ledgers[0].release(first) if left == "released" else ledgers[0].abandon(first))
    found = await asyncio.gather(
        *(ledger.begin(claim(tenant_id), wait=0) for ledger in ledgers), return_exceptions=True
    )
    assert len([each for each in found if isinstance(each, Hold)]) == 1
    assert len([each for each in found if isinstance(each, Transient)]) == 19


async def test_cancelled_while_it_takes_a_row_it_gives_it_back(ledger: Ledger, tenant_id: str) -> None:
    for steps in range(12):
        wish = claim(tenant_id, "unsafe", key=f"k{steps}")
        taking = asyncio.create_task(ledger.begin(wish, wait=0))
        for _ in range(steps):
            await asyncio.sleep(0)
        taking.cancel()
        try:
            found = await taking
        except asyncio.CancelledError:
            found = await ledger.begin(wish, wait=0)
        assert isinstance(found, Hold), "whether or not it was written, nothing has happened"


async def test_what_is_old_is_purged_and_what_is_at_work_is_kept(
    database: Database, ledger: Ledger, tenant_id: str
) -> None:
    for key in ("done", "released", "ended", "live"):
        hold = await take(ledger, claim(tenant_id, key=key, lease=3600))
        match key:
            case "done":
                await ledger.finish(hold, OUTCOME)
            case "released":
                await ledger.release(hold)
            case "ended":
                await ledger.abandon(hold)
    assert await ledger.purge(now() - timedelta(minutes=1)) == 0
    soon = now() + timedelta(minutes=1)
    assert await ledger.purge(soon, limit=2) == 2
    assert await ledger.purge(soon) == 1
    async with database.across.read() as connection:
        assert [row.id for row in await connection.execute(select(effects))] == ["live"]


async def test_what_is_committed_with_a_row_is_there_from_the_moment_it_is_begun(
    ledger: Ledger, database: Database, tenant_id: str
) -> None:
    assert await ledger.committed(tenant_id, "k") is None
    await take(ledger, claim(tenant_id, commit=["canary"]))
    assert await ledger.committed(tenant_id, "k") == ["canary"]
    async with database.across.read() as connection:
        stored = (await connection.execute(select(effects.c.committed_sealed))).scalar_one()
    assert b"canary" not in stored


@pytest.mark.parametrize("state", ["begun", "released", "done"])
async def test_an_attempt_that_comes_with_something_else_is_told_what_stands(
    ledger: Ledger, tenant_id: str, state: str
) -> None:
    hold = await take(ledger, claim(tenant_id, commit=[1]))
    if state == "released":
        await ledger.release(hold)
    elif state == "done":
        await ledger.finish(hold, OUTCOME)
    with pytest.raises(Overtaken) as caught:
        await ledger.begin(claim(tenant_id, commit=[2]), wait=0)
    assert caught.value.committed == [1]
    assert await ledger.committed(tenant_id, "k") == [1]


async def test_an_attempt_that_comes_with_the_same_goes_on_as_ever(ledger: Ledger, tenant_id: str) -> None:
    hold = await take(ledger, claim(tenant_id, commit=[1]))
    assert (await refusal(ledger, claim(tenant_id, commit=[1]))).type == "effect.inProgress"
    await ledger.release(hold)
    again = await take(ledger, claim(tenant_id, commit=[1]))
    await ledger.finish(again, OUTCOME)
    assert await ledger.begin(claim(tenant_id, commit=[1]), wait=0) == OUTCOME
