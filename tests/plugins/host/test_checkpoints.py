"""What a call saved is there for its next attempt, and only for that."""

import asyncio
from typing import Any

from plugins import Context, Plugin, Transient, plugin
from plugins.host.invoke import Host
from plugins.host.registry import Registry
from plugins.host.retry import Retry
from plugins.testing import run
from tests.plugins.host.bench import Bench
from tests.plugins.host.plays import Acts, Config, pure


def counts(
    *, until_failing_at: int | None = None, error: Exception | None = None, effect: Any = "idempotent"
) -> Plugin:
    """Count to five from the checkpoint, saving each number."""

    @plugin("test.count", version="1.0.0", effect=effect)
    async def count(config: Config, ctx: Context) -> list[int]:
        counted = []
        for number in range((ctx.checkpoint or {"number": 0})["number"], 5):
            if number == until_failing_at and ctx.attempt == 1 and error is not None:
                raise error
            counted.append(number)
            await ctx.save_checkpoint({"number": number + 1})
        return counted

    return count


async def test_the_next_attempt_goes_on_from_the_checkpoint_however_the_first_one_failed(bench: Bench) -> None:
    for number, error in enumerate(
        (
            Transient("not now", type="test.notNow", effect="none"),
            Transient("not now", type="test.notNow", effect="unknown"),
            RuntimeError("a bug"),
        )
    ):
        count = counts(until_failing_at=3, error=error)
        await bench.fail(count, step=f"node{number}")
        assert (await bench.invoke(count, step=f"node{number}", attempt=2)).output == [3, 4]
    assert {row.checkpoint_sealed for row in await bench.rows()} == {None}, "what is done keeps none"


async def test_a_redo_on_purpose_begins_without_one(bench: Bench) -> None:
    count = counts(until_failing_at=3, error=Transient("not now", type="test.notNow"))
    await bench.fail(count)
    assert (await bench.invoke(count, generation=2, attempt=2)).output == [0, 1, 2, 3, 4]


async def test_attempts_are_counted_anew_from_each_that_came_further(bench: Bench) -> None:
    """A long way with many stumbles is gone to its end; one that leads nowhere is given up as soon as any."""

    @plugin("test.step", version="1.0.0", effect="idempotent")
    async def step(config: Config, ctx: Context) -> str:
        come = ctx.checkpoint or 0
        if come == 6:
            raise Transient("stuck", type="test.stuck")
        await ctx.save_checkpoint(come + 1)
        raise Transient("not yet", type="test.notYet")

    given_up = [(await bench.fail(step, attempt=attempt)).retry_in is None for attempt in range(1, 11)]
    assert given_up == [False] * 6 + [False, False, True, True], "four attempts are those since the last step"
    promoted = [(await bench.fail(step, attempt=attempt)).retry_in is None for attempt in range(1, 5)]
    assert promoted == [False, False, False, True], "whoever begins to count anew is not taken for an early attempt"
    once = await bench.fail(step, attempt=1, step="once", retry=Retry(max_attempts=1))
    assert once.retry_in is None, "who wants no retry gets none"


async def test_a_checkpoint_is_sealed(bench: Bench) -> None:
    await bench.fail(counts(until_failing_at=3, error=Transient("not now", type="test.notNow")))
    (row,) = await bench.rows()
    assert row.checkpoint_sealed is not None
    assert b"number" not in row.checkpoint_sealed


async def test_an_attempt_that_was_taken_over_can_save_nothing(bench: Bench) -> None:
    second = Acts("idempotent", "acted")

    @plugin("test.act", version="1.0.0", effect="idempotent")
    async def slow(config: Config, ctx: Context) -> None:
        await ctx.save_checkpoint("mine")
        await bench.end_leases()
        assert (await bench.invoke(second.plugin, attempt=2)).output == "acted"
        await ctx.save_checkpoint("still mine")

    failure = await bench.fail(slow)
    assert failure.type == "effect.takenOver"
    (row,) = await bench.rows()
    assert (row.state, row.checkpoint_sealed) == ("done", None)


async def test_what_cannot_be_kept_is_said(bench: Bench) -> None:
    def saving(value: Any, effect: Any = "idempotent") -> Plugin:
        @plugin("test.save", version="1.0.0", effect=effect)
        async def save(config: Config, ctx: Context) -> None:
            await ctx.save_checkpoint(value)

        return save

    assert (await bench.fail(saving(object()))).type == "checkpoint.invalid"
    assert (await bench.fail(saving("x" * 300_000), step="large")).type == "checkpoint.invalid"
    assert (await bench.fail(saving("x", effect="read"))).type == "checkpoint.unavailable"

    async def keeps_nothing(config: Config, ctx: Context) -> Any:
        return ctx.checkpoint

    assert (await bench.invoke(pure(keeps_nothing))).output is None


async def test_a_long_call_keeps_its_lease_and_a_killed_one_soon_loses_it(bench: Bench) -> None:
    """A repeat waits for a live call of an hour, and for a dead one no longer than a lease."""
    ends, entered = asyncio.Event(), asyncio.Event()

    @plugin("test.act", version="1.0.0", effect="idempotent")
    async def long(config: Config, ctx: Context) -> str:
        entered.set()
        await ends.wait()
        return "the first"

    host = Host(registry=Registry([long]), ledger=bench.ledger, lender=bench.lender, egress=bench.egress, lease=0.3)

    async def invoke(**changes: Any) -> Any:
        call = bench.call(long, **{"timeout": 3600, **changes})
        return (await host.invoke(call, heartbeat=lambda progress: None, is_cancelled=lambda: False)).output

    first = asyncio.create_task(invoke())
    await entered.wait()
    (begun,) = await bench.rows()
    assert (begun.lease_until - begun.begun_at).total_seconds() < 10
    renewed = [begun.lease_until]

    async def look() -> None:
        while len(renewed) < 4:
            (row,) = await bench.rows()
            if row.lease_until > renewed[-1]:
                renewed.append(row.lease_until)
            await asyncio.sleep(0.01)

    await asyncio.wait_for(look(), 10)
    second = asyncio.create_task(invoke(attempt=2))
    assert not second.done()
    ends.set()
    assert await first == await second == "the first"


async def test_a_plugin_under_test_is_given_a_checkpoint_and_tells_its_own() -> None:
    saved: list[Any] = []
    outcome = await run(counts(), {}, checkpoint={"number": 3}, on_checkpoint=saved.append)
    assert (outcome.output, saved) == ([3, 4], [{"number": 4}, {"number": 5}])
