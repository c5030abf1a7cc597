"""The connection to Temporal, configured by Temporal's own environment (temporalio.envconfig)."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import RetryConfig, RPCError, RPCStatusCode

from plugins.storage.blobs import Blobs
from plugins.vault.keys import Vault
from user_workflows.codec import data_converter
from user_workflows.errors import EngineUnavailable

#: how long one call may take: a caller hears of a stopped Temporal within five seconds
RPC_TIMEOUT = timedelta(seconds=3)

#: exhausted: Temporal's limits of calls, or an execution that has been closing for longer than calls are repeated
_UNREACHABLE = {
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
}


async def connect(vault: Vault, blobs: Blobs, environ: Mapping[str, str], *, lazy: bool = False) -> Client:
    """Connect to the Temporal that ``TEMPORAL_*`` in `environ` names.

    Args:
        vault: seals what travels.
        blobs: takes what is too large to travel.
        environ: holds ``TEMPORAL_*``.
        lazy: connect with the first call; a worker needs an open connection.

    Raises:
        EngineUnavailable: there is no answer (only when not `lazy`).
    """
    config = ClientConfig.load_client_connect_config(override_env_vars=dict(environ))
    config.setdefault("target_host", "localhost:7233")
    try:
        return await Client.connect(
            **config,
            data_converter=data_converter(vault, blobs),
            retry_config=RetryConfig(initial_interval_millis=50, max_elapsed_time_millis=3_000, max_retries=5),
            connect_timeout=timedelta(seconds=2),
            lazy=lazy,
        )
    except RuntimeError as error:
        raise EngineUnavailable from error


@asynccontextmanager
async def reaching_temporal() -> AsyncIterator[None]:
    """Turn an unreachable Temporal into `EngineUnavailable`; other errors pass."""
    try:
        yield
    except RPCError as error:
        if error.status in _UNREACHABLE:
            raise EngineUnavailable from error
        raise
    except RuntimeError as error:
        # A lazy client that cannot connect says so with a bare RuntimeError.
        if "onnect" in str(error):
            raise EngineUnavailable from error
        raise


def is_not_found(error: RPCError) -> bool:
    return error.status == RPCStatusCode.NOT_FOUND
