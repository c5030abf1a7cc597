"""What a worker's death leaves behind, and what the next one makes of it. Each worker is a process of its own."""

import asyncio
import signal
import sys

from plugins.host.ledger import idempotency_key
from tests.plugins.host.bench import Bench
from tests.plugins.host.plays import Acts


async def die_in_the_middle(bench: Bench, timeout: float) -> None:
    """Let another process begin the call and be killed while the plugin is at work."""
    url = bench.database.engine.url.render_as_string(hide_password=False)
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.plugins.host.crashing", url, bench.tenant_id, str(timeout)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await worker.communicate()
    assert worker.returncode == -signal.SIGKILL
    assert idempotency_key(bench.tenant_id, "ex_1", "node", 1) in output.decode()


async def test_after_a_kill_an_idempotent_call_waits_for_the_lease_and_acts_under_the_same_key(bench: Bench) -> None:
    await die_in_the_middle(bench, timeout=0.1)
    acts = Acts("idempotent")
    assert (await bench.invoke(acts.plugin, attempt=2, timeout=0.1)).output == "acted", "it waits as long as it takes"
    assert acts.keys == [idempotency_key(bench.tenant_id, "ex_1", "node", 1)]


async def test_after_a_kill_an_unsafe_call_is_unknown_until_somebody_answers_for_a_repeat(bench: Bench) -> None:
    await die_in_the_middle(bench, timeout=30)
    acts = Acts("unsafe")
    assert (await bench.fail(acts.plugin, timeout=0.05)).type == "effect.inProgress", "its lease has not run out"
    redo = Acts("unsafe")
    assert (await bench.invoke(redo.plugin, generation=2)).output == "acted", "an explicit redo waits for no dead"
    await bench.end_leases()
    failure = await bench.fail(acts.plugin)
    assert (failure.type, failure.retry_in, acts.count) == ("effect.outcomeUnknown", None, 0)
    assert (await bench.invoke(acts.plugin, on_unknown="retry")).output == "acted"
