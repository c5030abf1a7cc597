"""One attempt's hold on its row of the effect ledger: kept while it acts, left as it ended (design §8)."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import structlog

from plugins.host.attempt import Attempt
from plugins.host.call import Outcome
from plugins.host.errors import trace_of
from plugins.host.ledger import Hold, Ledger
from plugins.host.stored import stored
from plugins.sdk.errors import Permanent, PluginError, Transient
from plugins.sdk.plugin import Plugin

#: Seconds that a lease outlasts the call's timeout: time to write down how it ended.
GRACE = 2.0
#: Seconds after which a call that lasts longer renews its lease: so long a repeat waits when its worker is killed.
LEASE = 30.0
#: Renewals in the life of a lease: two may fail before it is lost.
RENEWALS = 3
#: bytes of one checkpoint, encoded as JSON
MAX_CHECKPOINT = 256 * 1024

log = structlog.get_logger(__name__)


class Holding:
    """Args:
    ledger: where the row is.
    hold: the right to it.
    attempt: who holds it.
    plugin: what acts.
    lease: seconds for which the row is held before it has to be renewed.
    """

    def __init__(self, ledger: Ledger, hold: Hold, attempt: Attempt, plugin: Plugin, *, lease: float) -> None:
        self._ledger = ledger
        self._hold = hold
        self._attempt = attempt
        self._plugin = plugin
        self._lease = lease

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renew the lease of a call that may last longer than it, for as long as the block runs."""
        if self._attempt.call.timeout <= self._lease:
            yield
            return
        renewing = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])

    async def _keep(self) -> None:
        is_held = True
        while is_held:
            await asyncio.sleep(self._lease / RENEWALS)
            try:
                is_held = await self._ledger.renew(self._hold, self._lease + GRACE)
            except Exception as error:
                log.warning("effect.notRenewed", key=self._hold.key, plugin=self._plugin.id, trace=trace_of(error))

    async def checkpoint(self) -> Any:
        """Return what an earlier attempt saved last; ``None``: nothing."""
        kept = await stored(self._ledger.checkpoint(self._hold))
        if kept is None:
            return None
        self._attempt.advanced_in = kept["attempt"]
        return kept["value"]

    async def save(self, value: Any) -> None:
        """Save a checkpoint, as `Context.save_checkpoint` says."""
        try:
            encoded = msgspec.json.encode(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise Permanent(f"a checkpoint is JSON: {error}", type="checkpoint.invalid") from None
        if len(encoded) > MAX_CHECKPOINT:
            raise Permanent(
                f"a checkpoint of {len(encoded):,} bytes is too large; at most {MAX_CHECKPOINT:,} are kept",
                type="checkpoint.invalid",
            )
        kept = {"attempt": self._attempt.call.attempt, "value": msgspec.Raw(encoded)}
        if not await stored(self._ledger.save(self._hold, kept)):
            raise Transient("another attempt has taken this call over", type="effect.takenOver")
        self._attempt.advanced_in = self._attempt.call.attempt

    async def settle(self, error: PluginError) -> None:
        """Leave the row as the failure demands."""
        if isinstance(error, Transient):
            agreed = self._attempt.effect == "unsafe" and self._attempt.failure(error).retry_in is not None
            if error.effect == "none" or agreed:
                # The node's own retry is consent to repeat after this error, even if the call acted.
                await self._note(self._ledger.release(self._hold))
            elif self._plugin.is_async or error.type != "timeout":
                await self._note(self._ledger.abandon(self._hold))
        elif self._attempt.effect == "idempotent":
            await self._note(self._ledger.release(self._hold))
        else:
            # It may have acted before it failed: a repeat fails the same way, and only an explicit redo acts again.
            failure = self._attempt.failure(error)
            final = Permanent(failure.message, type=failure.type, status=failure.status)
            await self._note(self._ledger.fail(self._hold, final))

    async def finish(self, outcome: Outcome) -> None:
        """Store what the call gave."""
        await self._note(self._ledger.finish(self._hold, outcome))

    async def abandon(self) -> None:
        """Leave the row of a call that was cancelled; the thread of a plain function acts on until its lease ends."""
        if self._plugin.is_async:
            await self._note(self._ledger.abandon(self._hold))

    async def _note(self, writing: Coroutine[Any, Any, bool]) -> None:
        """Write down how the call ended. What the call gave counts, even where it cannot be written down."""
        try:
            if not await writing:
                log.warning(
                    "effect.takenOver", key=self._hold.key, plugin=self._plugin.id, step=self._attempt.call.step
                )
        except Exception as error:
            log.error("effect.notRecorded", key=self._hold.key, plugin=self._plugin.id, trace=trace_of(error))
