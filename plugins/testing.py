"""Runs a plugin in a test, without engines and without a database.

    from plugins.testing import run

    async def test_the_price_is_read() -> None:
        outcome = await run(stock_price, {"symbol": "AAPL"}, credentials={"marketdata": key})
        assert outcome.output["symbol"] == "AAPL"

Config, limits, timeouts and outputs are handled by the very code that production runs.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog

from plugins.egress.client import EgressClient
from plugins.egress.guard import Guard
from plugins.host.call import Outcome
from plugins.host.ledger import idempotency_key
from plugins.host.perform import decode_config, from_any_thread, perform
from plugins.host.scrub import Scrubber
from plugins.sdk.context import Context
from plugins.sdk.credential import Credential
from plugins.sdk.plugin import Plugin

__all__ = ["Outcome", "run"]

#: where test servers listen
LOOPBACK = ("127.0.0.0/8", "::1/128")


async def run(
    plugin: Plugin,
    config: Any,
    *,
    credentials: Mapping[str, Credential] | None = None,
    attempt: int = 1,
    timeout: float = 30.0,
    tenant_id: str = "ten_test",
    execution_id: str | None = "ex_test",
    job_id: str | None = None,
    step: str = "step",
    allowed_hosts: tuple[str, ...] = (),
    heartbeat: Callable[[Any], None] = lambda progress: None,
    is_cancelled: Callable[[], bool] = lambda: False,
    checkpoint: Any = None,
    on_checkpoint: Callable[[Any], None] = lambda value: None,
) -> Outcome:
    """Run one attempt of `plugin` and return what it gave.

    Args:
        plugin: what to run.
        config: as JSON, the way a workflow would give it; or the plugin's own config Struct.
        credentials: by slot, e.g. ``{"auth": BearerCredential(token=Secret("…"))}``.
        attempt: from 1; every attempt has the same idempotency key.
        timeout: seconds.
        tenant_id: whose call it plays.
        execution_id: of the execution it plays a step of.
        job_id: of the job it plays.
        step: the node id it plays.
        allowed_hosts: the only hosts it may reach, as with a credential that names them; empty: any, loopback too.
        heartbeat: told the plugin's progress.
        is_cancelled: what ``ctx.cancelled`` answers.
        checkpoint: what an earlier attempt saved.
        on_checkpoint: told each checkpoint, as JSON; what it raises, saving raises.

    Raises:
        PluginError: what the plugin raised, or the same as in production, e.g. ``config.invalid``, ``timeout``.
        TypeError: a credential does not fit the plugin's slots.
    """
    lent = dict(credentials or {})
    _check_slots(plugin, lent)
    decoded = decode_config(plugin, msgspec.to_builtins(config) if isinstance(config, msgspec.Struct) else config)

    async def save(value: Any) -> None:
        on_checkpoint(msgspec.json.decode(msgspec.json.encode(value)))

    egress, over = EgressClient(Guard(allow=LOOPBACK)), threading.Event()
    context = Context(
        tenant_id=tenant_id,
        execution_id=execution_id,
        job_id=job_id,
        step=step,
        attempt=attempt,
        idempotency_key=idempotency_key(tenant_id, execution_id or job_id or "", step, 1),
        http=egress.restricted(allowed_hosts) if allowed_hosts else egress,
        credentials=lent,
        log=structlog.get_logger(plugin.id),
        heartbeat=from_any_thread(heartbeat),
        is_cancelled=lambda: over.is_set() or is_cancelled(),
        loop=asyncio.get_running_loop(),
        checkpoint=checkpoint,
        save_checkpoint=save,
    )
    try:
        return await perform(plugin, decoded, context, timeout=timeout, scrubber=Scrubber(lent.values()))
    finally:
        over.set()
        await egress.close()


def _check_slots(plugin: Plugin, lent: Mapping[str, Credential]) -> None:
    slots = {slot.name: slot for slot in plugin.credentials}
    for name, credential in lent.items():
        type_ = credential.__struct_config__.tag
        if name not in slots:
            raise TypeError(f"{plugin.id} has no credential slot {name!r}; it has {', '.join(slots) or 'none'}")
        if type_ not in slots[name].types:
            raise TypeError(
                f"slot {name!r} of {plugin.id} takes {' or '.join(slots[name].types)}, and was given {type_}"
            )
    for name, slot in slots.items():
        if not slot.optional and name not in lent:
            raise TypeError(f"{plugin.id} needs a credential in slot {name!r} ({' or '.join(slot.types)})")
