"""Runs one attempt of one plugin call, the same way for both engines."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from plugins.egress.client import EgressClient
from plugins.host.attempt import Attempt
from plugins.host.call import Call, Outcome
from plugins.host.errors import CallFailed, Failure, Overtaken, trace_of
from plugins.host.holding import GRACE, LEASE, Holding
from plugins.host.ledger import Claim, Ledger, idempotency_key
from plugins.host.perform import MAX_OUTPUT, decode_config, effect_of, from_any_thread, perform
from plugins.host.reauthorization import reauthorization
from plugins.host.registry import Registry
from plugins.host.scrub import Scrubber
from plugins.host.stored import stored
from plugins.sdk.context import Context
from plugins.sdk.effect import EFFECTFUL
from plugins.sdk.errors import Permanent, PluginError, Transient
from plugins.sdk.plugin import Plugin
from plugins.vault.lending import Borrower, Lender

__all__ = ["Call", "CallFailed", "Failure", "Host", "Outcome", "Overtaken"]

OnFailed = Callable[[Call, Failure, float], Awaitable[None]]

log = structlog.get_logger(__name__)


class Host:
    """Runs plugins. Make one per process, in the composition root.

    Args:
        registry: the plugins it may run.
        ledger: where effectful calls are written down before they act.
        lender: where bound credentials come from.
        egress: what plugins reach the network through.
        max_output: bytes of one output, encoded as JSON.
        lease: seconds for which a call holds its row in the ledger before it has to renew it.
        on_failed: told of each failed attempt, and how many seconds it took; it raises nothing.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        ledger: Ledger,
        lender: Lender,
        egress: EgressClient,
        max_output: int = MAX_OUTPUT,
        lease: float = LEASE,
        on_failed: OnFailed | None = None,
    ) -> None:
        self._on_failed = on_failed
        self._registry = registry
        self._ledger = ledger
        self._lender = lender
        self._egress = egress
        self._max_output = max_output
        self._lease = lease

    async def invoke(
        self, call: Call, *, heartbeat: Callable[[Any], None], is_cancelled: Callable[[], bool]
    ) -> Outcome:
        """Run one attempt of `call`: config, credentials, ledger, the plugin itself, and how it ended.

        An engine must allow it twice the call's timeout and some seconds: it may wait for the lease of an earlier
        attempt as long as it may act. Cancelled, it settles the ledger and lets the cancellation through.

        Args:
            call: what to run.
            heartbeat: told the plugin's progress, always on this event loop.
            is_cancelled: whether the engine wants the call to stop.

        Raises:
            CallFailed: and, where the call commits something, `Overtaken`; nothing else.
        """
        attempt = Attempt(
            call=call,
            key=_key(call),
            scrubber=Scrubber(),
            http=self._egress,
            started=time.perf_counter(),
        )
        try:
            outcome = await self._run(attempt, heartbeat, is_cancelled)
        except asyncio.CancelledError:
            attempt.observe("canceled")
            raise
        except Overtaken:
            attempt.observe("overtaken")
            raise
        except PluginError as error:
            failure = attempt.failure(error)
            attempt.observe(
                "transient" if isinstance(error, Transient) else "permanent",
                # The type alone: a message may quote what a server answered, which is the tenant's.
                error=failure.type,
                retry_in=failure.retry_in,
            )
        except Exception as error:
            log.error("plugin.hostFailed", plugin=call.plugin, step=call.step, trace=trace_of(error))
            failure = attempt.failure(
                Permanent("the gateway itself failed on this call; its log says why", type="internal.error")
            )
            attempt.observe("permanent", error=failure.type)
        else:
            attempt.observe("replayed" if attempt.replayed else "completed", port=outcome.port)
            return outcome
        if self._on_failed is not None:
            await self._on_failed(call, failure, time.perf_counter() - attempt.started)
        # Raised out here, it carries no context: nothing of the plugin's exception travels with it.
        raise CallFailed(failure)

    async def committed(self, call: Call) -> Any:
        """Return what an earlier attempt of `call` has committed together with it; ``None``: nothing.

        The config of the call does not matter.
        """
        return await self._ledger.committed(call.tenant_id, _key(call))

    async def _run(
        self, attempt: Attempt, heartbeat: Callable[[Any], None], is_cancelled: Callable[[], bool]
    ) -> Outcome:
        call = attempt.call
        attempt.plugin = plugin = self._registry.get(call.plugin)
        attempt.config = decode_config(plugin, call.config)
        attempt.effect = effect_of(plugin, attempt.config)
        await stored(self._bind(attempt, plugin))
        if attempt.effect not in EFFECTFUL:
            return await self._perform(attempt, plugin, None, heartbeat, is_cancelled)
        claim = Claim(
            tenant_id=call.tenant_id,
            key=attempt.key,
            origin=call.origin,
            step=call.step,
            generation=call.generation,
            plugin=plugin.id,
            effect=attempt.effect,
            lease=min(call.timeout, self._lease) + GRACE,
            on_unknown=call.on_unknown,
            commit=call.commit,
        )
        # Until the lease of an attempt of the same call has ended, whose process died at any moment.
        found = await stored(self._ledger.begin(claim, wait=call.timeout + GRACE))
        if isinstance(found, Outcome):
            attempt.replayed = True
            return found
        holding = Holding(self._ledger, found, attempt, plugin, lease=self._lease)
        try:
            async with holding.kept():
                outcome = await self._perform(attempt, plugin, holding, heartbeat, is_cancelled)
        except asyncio.CancelledError:
            await holding.abandon()
            raise
        except PluginError as error:
            await holding.settle(error)
            raise
        await holding.finish(outcome)
        return outcome

    async def _bind(self, attempt: Attempt, plugin: Plugin) -> None:
        """Borrow the bound credentials, and close the way to every host that one of them does not allow."""
        call, slots = attempt.call, {slot.name: slot for slot in plugin.credentials}
        for name in call.credentials:
            if name not in slots:
                raise Permanent(
                    f"{plugin.id} has no credential slot {name!r}; it has {', '.join(slots) or 'none'}",
                    type="credential.unknownSlot",
                )
        attempt.ways = dict.fromkeys((None, *slots), self._egress)
        borrower = Borrower(
            tenant_id=call.tenant_id,
            plugin_id=plugin.id,
            step=call.step,
            execution_id=call.execution_id,
            job_id=call.job_id,
        )
        for name, slot in slots.items():
            credential_id = call.credentials.get(name)
            if credential_id is None:
                if not slot.optional:
                    raise Permanent(
                        f"{plugin.id} needs a credential in slot {name!r} ({' or '.join(slot.types)})",
                        type="credential.missing",
                    )
                continue
            lent = await self._lender.lend(borrower, slot, credential_id)
            attempt.credentials[name] = lent.credential
            attempt.scrubber.learn(lent.credential)
            if (again := reauthorization(lent, attempt.scrubber)) is not None:
                attempt.http = attempt.http.reauthorized(again)
                attempt.ways[name] = attempt.ways[name].reauthorized(again)
            # With several restricted credentials only the hosts that all of them allow remain: the host cannot know
            # which of them the plugin will send where.
            if lent.allowed_hosts:
                attempt.http = attempt.http.restricted(lent.allowed_hosts)
                attempt.ways[name] = attempt.ways[name].restricted(lent.allowed_hosts)

    async def _perform(
        self,
        attempt: Attempt,
        plugin: Plugin,
        holding: Holding | None,
        heartbeat: Callable[[Any], None],
        is_cancelled: Callable[[], bool],
    ) -> Outcome:
        call = attempt.call
        checkpoint = None if holding is None else await holding.checkpoint()
        context = Context(
            tenant_id=call.tenant_id,
            execution_id=call.execution_id,
            job_id=call.job_id,
            step=call.step,
            attempt=call.attempt,
            idempotency_key=attempt.key,
            http=attempt.http,
            credentials=attempt.credentials,
            log=structlog.get_logger(
                plugin.id,
                plugin=plugin.id,
                tenant_id=call.tenant_id,
                execution_id=call.execution_id,
                job_id=call.job_id,
                step=call.step,
                attempt=call.attempt,
            ),
            heartbeat=from_any_thread(heartbeat),
            # A thread that outlives its call finds itself cancelled.
            is_cancelled=lambda: attempt.is_over or is_cancelled(),
            loop=asyncio.get_running_loop(),
            checkpoint=checkpoint,
            save_checkpoint=None if holding is None else holding.save,
            ways=attempt.ways,
        )
        try:
            return await perform(
                plugin,
                attempt.config,
                context,
                timeout=call.timeout,
                scrubber=attempt.scrubber,
                max_output=self._max_output,
            )
        except PluginError as error:
            if error.type == "plugin.crashed" and error.__cause__ is not None:
                trace = attempt.scrubber.text(trace_of(error.__cause__))
                log.error("plugin.crashed", plugin=plugin.id, step=call.step, trace=trace)
            raise
        finally:
            attempt.is_over = True


def _key(call: Call) -> str:
    return idempotency_key(call.tenant_id, call.origin, call.step, call.generation)
