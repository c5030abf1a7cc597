import asyncio
import threading

import pytest
from prometheus_client import REGISTRY

from plugins import (
    Context,
    Effect,
    Permanent,
    Transient,
    plugin,
)
from plugins.host.invoke import CallFailed, Host, Outcome
from plugins.host.ledger import Ledger
from plugins.host.registry import Registry
from plugins.host.retry import Retry
from plugins.storage.database import Database
from plugins.vault.keys import MasterKey, Vault
from tests.lending import lend_to_anybody
from tests.plugins.host.bench import Bench
from tests.plugins.host.plays import Acts, Config, until


@pytest.mark.parametrize("effect", ["pure", "read"])
async def test_a_call_without_effect_writes_no_row_and_runs_each_time(bench: Bench, effect: Effect) -> None:
    acts = Acts(effect)
    await bench.invoke(acts.plugin)
    await bench.invoke(acts.plugin)
    assert acts.count == 2
    assert await bench.rows() == []


@pytest.mark.parametrize("effect", ["idempotent", "unsafe"])
async def test_a_repeated_call_gets_the_first_outcome_without_acting(bench: Bench, effect: Effect) -> None:
    acts = Acts(effect, {"id": 1}, {"id": 2})
    first = await bench.invoke(acts.plugin)
    assert await bench.invoke(acts.plugin, attempt=2) == first == Outcome(port="output", output={"id": 1})
    assert acts.count == 1
    assert await bench.state() == "done"


@pytest.mark.parametrize("effect", ["idempotent", "unsafe"])
async def test_fifty_concurrent_calls_of_one_key_act_once(bench: Bench, effect: Effect) -> None:
    acts = Acts(effect, "first", "second")
    outcomes = await asyncio.gather(*(bench.invoke(acts.plugin, timeout=30) for _ in range(50)))
    assert acts.count == 1
    assert {outcome.output for outcome in outcomes} == {"first"}


async def test_an_explicit_redo_acts_again_under_another_key(bench: Bench) -> None:
    acts = Acts("unsafe", 1, 2)
    assert (await bench.invoke(acts.plugin, generation=1)).output == 1
    assert (await bench.invoke(acts.plugin, generation=2)).output == 2
    assert len(set(acts.keys)) == 2


async def test_the_key_is_the_same_on_every_attempt_and_on_both_engines(bench: Bench) -> None:
    acts = Acts("read")
    await bench.invoke(acts.plugin, attempt=1)
    await bench.invoke(acts.plugin, attempt=2)
    await bench.invoke(acts.plugin, execution_id=None, job_id="job_1")
    assert len(set(acts.keys)) == 1


OWN = Retry(max_attempts=3)
NOTHING, UNKNOWN, FINAL = Transient("refused", effect="none"), Transient("reset"), Permanent("no", type="http.404")


@pytest.mark.parametrize(
    ("effect", "retry", "error", "state", "retried"),
    [
        ("idempotent", None, NOTHING, "released", True),
        ("unsafe", None, NOTHING, "released", True),
        ("idempotent", None, UNKNOWN, "ended", True),
        ("unsafe", None, UNKNOWN, "ended", False),
        ("unsafe", OWN, UNKNOWN, "released", True),
        ("idempotent", None, FINAL, "released", False),
        ("unsafe", None, FINAL, "done", False),
        ("unsafe", None, ValueError("crash"), "done", False),
        ("idempotent", None, TimeoutError(), "ended", True),
    ],
)
async def test_a_failed_attempt_leaves_the_row_as_what_is_known_demands(
    bench: Bench, effect: Effect, retry: Retry | None, error: Exception, state: str, retried: bool
) -> None:
    acts = Acts(effect, error, "second")
    failure = await bench.fail(acts.plugin, retry=retry)
    assert await bench.state() == state
    assert (failure.retry_in is not None) is retried
    if retried:
        assert (await bench.invoke(acts.plugin, retry=retry, attempt=2)).output == "second"
        assert acts.keys[0] == acts.keys[1]


async def test_an_unsafe_call_that_may_have_acted_is_not_repeated(bench: Bench) -> None:
    acts = Acts("unsafe", UNKNOWN, "second")
    await bench.fail(acts.plugin)
    failure = await bench.fail(acts.plugin, attempt=2)
    assert (failure.type, failure.retry_in, acts.count) == ("effect.outcomeUnknown", None, 1)
    assert (await bench.invoke(acts.plugin, on_unknown="retry", attempt=3)).output == "second"


async def test_a_final_failure_of_an_unsafe_call_is_repeated_in_words_not_in_deeds(bench: Bench) -> None:
    acts = Acts("unsafe", Permanent("no such user", type="http.404", status=404), "second")
    first = await bench.fail(acts.plugin)
    assert await bench.fail(acts.plugin) == first
    assert acts.count == 1
    assert (await bench.invoke(acts.plugin, generation=2)).output == "second"


async def test_a_call_behind_a_live_attempt_waits_and_is_then_told_to_come_again(bench: Bench) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> str:
        begun.set()
        await go_on.wait()
        return "first"

    acts = Acts("unsafe", slow)
    first = asyncio.create_task(bench.invoke(acts.plugin, timeout=30))
    await begun.wait()
    failure = await bench.fail(acts.plugin, timeout=0.05)
    assert failure.type == "effect.inProgress"
    assert failure.retry_in is not None
    assert failure.retry_in > 10
    go_on.set()
    assert (await first).output == "first"
    assert acts.count == 1


@pytest.mark.parametrize("effect", ["idempotent", "unsafe"])
async def test_a_cancelled_call_passes_the_cancellation_on_and_ends_its_lease(bench: Bench, effect: Effect) -> None:
    begun = asyncio.Event()

    async def forever() -> None:
        begun.set()
        await asyncio.Event().wait()

    acts = Acts(effect, forever, "second")
    task = asyncio.create_task(bench.invoke(acts.plugin))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await bench.state() == "ended"
    if effect == "idempotent":
        assert (await bench.invoke(acts.plugin)).output == "second"
    else:
        assert (await bench.fail(acts.plugin)).type == "effect.outcomeUnknown"


async def test_a_cancelled_plain_function_keeps_its_lease_because_it_acts_on(bench: Bench) -> None:
    begun, end = threading.Event(), threading.Event()

    def block(config: Config, ctx: Context) -> None:
        begun.set()
        end.wait(30)

    made = plugin("test.block", version="1.0.0", effect="idempotent")(block)
    task = asyncio.create_task(bench.invoke(made))
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await bench.state() == "begun"
    end.set()
    await until(lambda: REGISTRY.get_sample_value("gateway_plugin_threads_abandoned") == 0)


async def test_cancelled_at_any_moment_an_effect_is_never_lost_nor_doubled(bench: Bench) -> None:
    """However far the call came, a repeat acts if it had not acted, and never acts twice without saying so."""
    for steps in range(0, 60, 3):
        acts = Acts("unsafe", "acted")
        task = asyncio.create_task(bench.invoke(acts.plugin, step=f"n{steps}"))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        (found,) = await asyncio.gather(bench.invoke(acts.plugin, step=f"n{steps}"), return_exceptions=True)
        if isinstance(found, CallFailed):
            assert found.failure.type == "effect.outcomeUnknown"
        else:
            assert found == Outcome(port="output", output="acted")
            assert acts.count == 1
        assert acts.count <= 1


async def test_without_a_database_nothing_happens_and_the_call_may_be_repeated(master: MasterKey, bench: Bench) -> None:
    absent = Database("postgresql://nobody@127.0.0.1:1/none")
    vault = Vault(absent, master)
    acts = Acts("unsafe")
    host = Host(
        registry=Registry([acts.plugin]),
        ledger=Ledger(absent, vault),
        lender=lend_to_anybody(absent, vault),
        egress=bench.egress,
    )
    with pytest.raises(CallFailed) as caught:
        await host.invoke(bench.call(acts.plugin), heartbeat=lambda _: None, is_cancelled=lambda: False)
    assert caught.value.failure.type == "storage.unavailable"
    assert caught.value.failure.retry_in is not None
    assert acts.count == 0
    await absent.close()


async def test_what_a_call_gave_counts_even_when_it_cannot_be_written_down(bench: Bench, owned: Database) -> None:
    async def act_and_lose_the_table() -> str:
        async with owned.across.transaction() as connection:
            await connection.exec_driver_sql("ALTER TABLE effects RENAME TO lost")
        return "acted"

    assert (await bench.invoke(Acts("unsafe", act_and_lose_the_table).plugin)).output == "acted"
    async with owned.across.transaction() as connection:
        await connection.exec_driver_sql("ALTER TABLE lost RENAME TO effects")
