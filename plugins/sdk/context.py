"""What a plugin is given besides its config."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from structlog.typing import FilteringBoundLogger

from plugins.egress.client import EgressClient
from plugins.sdk.credential import Credential
from plugins.sdk.errors import Permanent

T = TypeVar("T")


class Context:
    """One attempt of one call: who it is for, and the only ways to reach outside.

    Everything here works in async and in plain functions alike; a plain function runs in a thread and awaits with
    `wait`, e.g. ``ctx.wait(ctx.http.request("GET", url))``.
    """

    def __init__(
        self,
        *,
        tenant_id: str,
        execution_id: str | None,
        job_id: str | None,
        step: str,
        attempt: int,
        idempotency_key: str,
        http: EgressClient,
        credentials: Mapping[str, Credential],
        log: FilteringBoundLogger,
        heartbeat: Callable[[Any], None],
        is_cancelled: Callable[[], bool],
        loop: asyncio.AbstractEventLoop,
        checkpoint: Any = None,
        save_checkpoint: Callable[[Any], Awaitable[None]] | None = None,
        ways: Mapping[str | None, EgressClient] | None = None,
    ) -> None:
        self.tenant_id = tenant_id
        #: set on Temporal, ``None`` in a job
        self.execution_id = execution_id
        #: set in a job, ``None`` on Temporal
        self.job_id = job_id
        #: the node id, with item and round numbers inside loops; the job type in a job
        self.step = step
        #: counts from 1 on both engines
        self.attempt = attempt
        #: the same on every attempt, on both engines
        self.idempotency_key = idempotency_key
        #: the only way out of the machine; it reaches what every bound credential allows
        self.http = http
        self._ways = ways or {}
        self.log = log
        #: what an earlier attempt of this call saved last; ``None``: nothing
        self.checkpoint = checkpoint
        self._save_checkpoint = save_checkpoint
        self._credentials = credentials
        self._heartbeat = heartbeat
        self._is_cancelled = is_cancelled
        self._loop = loop

    @property
    def cancelled(self) -> bool:
        """Whether the caller has asked this call to stop."""
        return self._is_cancelled()

    def heartbeat(self, progress: Any = None) -> None:
        """Report that the call is alive, with a JSON-able `progress` for people."""
        self._heartbeat(progress)

    async def save_checkpoint(self, value: Any) -> None:
        """Keep how far the call has come: whatever happens, the next attempt finds `value` in `checkpoint`.

        It is durable when this returns, on both engines alike. Save what is done already, and do what comes between
        two checkpoints so that doing it again does no harm. A redo on purpose begins without one. Who saves comes
        further: of the attempts that a call may make, those after a new checkpoint are counted anew.

        Args:
            value: JSON-able, at most 256 KiB.

        Raises:
            Permanent: ``checkpoint.invalid``, it is too large or no JSON; ``checkpoint.unavailable``, a call that is
                `pure` or `read` keeps nothing.
            Transient: ``effect.takenOver``, another attempt is at work and this one must not go on;
                ``storage.unavailable``.
        """
        if self._save_checkpoint is None:
            raise Permanent(
                "a call without an effect keeps no checkpoint; declare the plugin idempotent",
                type="checkpoint.unavailable",
            )
        await self._save_checkpoint(value)
        self.checkpoint = value

    def credential(self, name: str) -> Credential:
        """Return the credential bound to slot `name`.

        Raises:
            Permanent: type ``credential.missing``, nothing is bound to that slot.
        """
        try:
            return self._credentials[name]
        except KeyError:
            raise Permanent(f"no credential is bound to slot {name!r}", type="credential.missing") from None

    def http_for(self, slot: str | None) -> EgressClient:
        """Return the way out that the credential in `slot` alone restricts; of ``None``, or of an empty slot, no other.

        For a call that talks to several parties: nothing of another slot may go this way.
        """
        return self._ways.get(slot, self.http)

    def has_credential(self, name: str) -> bool:
        return name in self._credentials

    def wait(self, awaitable: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end from a plain (threaded) plugin function."""
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result()
