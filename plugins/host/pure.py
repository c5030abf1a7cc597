"""Runs a plugin that only computes, apart from everything it could act on: no network, no credentials, no ledger."""

import asyncio
from typing import Any

import structlog

from plugins.egress.client import EgressClient
from plugins.host.call import Outcome
from plugins.host.perform import perform
from plugins.host.scrub import Scrubber
from plugins.sdk.context import Context
from plugins.sdk.plugin import Plugin


async def run_pure(plugin: Plugin, config: Any, *, step: str, timeout: float, egress: EgressClient) -> Outcome:
    """Call a plugin that is `pure` for this config once, and return what it gave.

    Args:
        plugin: what to run.
        config: decoded.
        step: node id, with item and round numbers inside loops.
        timeout: seconds.
        egress: of this process; nothing is let through it.

    Raises:
        PluginError: as a call by an engine would.
    """
    context = Context(
        tenant_id="",
        execution_id=None,
        job_id=None,
        step=step,
        attempt=1,
        idempotency_key="",
        http=egress.restricted(()),
        credentials={},
        log=structlog.get_logger(plugin.id).bind(plugin=plugin.id, step=step),
        heartbeat=lambda progress: None,
        is_cancelled=lambda: False,
        loop=asyncio.get_running_loop(),
    )
    return await perform(plugin, config, context, timeout=timeout, scrubber=Scrubber())
