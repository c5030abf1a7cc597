"""What is known about one attempt while it goes on, and how it is told afterwards."""

import time
from typing import Any

import structlog
from msgspec import Struct, field

from plugins.egress.client import EgressClient
from plugins.host.call import Call
from plugins.host.errors import Failure
from plugins.host.metrics import calls, seconds_of
from plugins.host.retry import next_delay
from plugins.host.scrub import Scrubber
from plugins.sdk.credential import Credential
from plugins.sdk.effect import Effect
from plugins.sdk.errors import PluginError
from plugins.sdk.plugin import Plugin

_LONGEST_MESSAGE = 2_000

log = structlog.get_logger(__name__)


class Attempt(Struct, kw_only=True):
    """What is known about an attempt so far."""

    call: Call
    key: str
    #: the strictest, until the config says
    effect: Effect = "unsafe"
    plugin: Plugin | None = None
    config: Any = None
    credentials: dict[str, Credential] = field(default_factory=dict)
    scrubber: Scrubber
    #: restricted by every credential
    http: EgressClient
    #: slot → restricted by its credential alone; ``None`` → by none
    ways: dict[str | None, EgressClient] = field(default_factory=dict)
    replayed: bool = False
    #: whether the plugin's function was left; a thread of it may go on
    is_over: bool = False
    #: the attempt that saved the latest checkpoint: from it on attempts are counted anew
    advanced_in: int = 1
    started: float

    def failure(self, error: PluginError) -> Failure:
        message = self.scrubber.text(error.message)
        if len(message) > _LONGEST_MESSAGE:
            message = message[:_LONGEST_MESSAGE] + "…"
        return Failure(
            type=error.type,
            message=message,
            status=error.status,
            attempt=self.call.attempt,
            retry_in=next_delay(self.call.retry, self.effect, self._counted(), error),
        )

    def _counted(self) -> int:
        """Return which attempt this is of those that count. One that was promoted counts from one by itself."""
        attempt = self.call.attempt
        return attempt - self.advanced_in + 1 if attempt >= self.advanced_in else attempt

    def observe(self, outcome: str, **facts: Any) -> None:
        """Count the attempt and log its one line."""
        seconds = time.perf_counter() - self.started
        # Ids of plugins that are not installed are anybody's text: one label for all of them.
        plugin = self.plugin.id if self.plugin else "unknown"
        calls(plugin, outcome).inc()
        seconds_of(plugin, outcome).observe(seconds)
        log.info(
            "plugin.call",
            plugin=self.call.plugin,
            outcome=outcome,
            tenant_id=self.call.tenant_id,
            execution_id=self.call.execution_id,
            job_id=self.call.job_id,
            step=self.call.step,
            attempt=self.call.attempt,
            effect=self.effect,
            seconds=round(seconds, 4),
            **facts,
        )
