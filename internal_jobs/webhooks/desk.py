"""The door to outbound webhooks: endpoints, what is published to them, and the deliveries."""

import asyncio
from collections.abc import Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError

from internal_jobs.client import Jobs
from internal_jobs.webhooks.deliveries import Deliveries
from internal_jobs.webhooks.endpoints import Endpoints
from internal_jobs.webhooks.model import (
    Delivery,
    DeliveryDetail,
    DeliveryStatus,
    Endpoint,
    EndpointChange,
    EndpointRequest,
    EndpointSecret,
    EventRequest,
    Occurrence,
)
from internal_jobs.webhooks.publisher import PATIENCE, Publisher, Sending, is_listening, message_id
from internal_jobs.webhooks.sending import Sender, send_plugin
from plugins.host.retry import Retry
from plugins.sdk.plugin import Plugin
from plugins.storage.database import Database
from plugins.vault.keys import Vault

__all__ = [
    "Delivery",
    "DeliveryDetail",
    "DeliveryStatus",
    "Endpoint",
    "EndpointChange",
    "EndpointRequest",
    "EndpointSecret",
    "EventRequest",
    "Occurrence",
    "Sending",
    "Webhooks",
    "is_listening",
    "message_id",
]

_log = structlog.get_logger(__name__)

#: Seconds between two looks for deliveries whose jobs ended without them.
INTERVAL = 30.0


class Webhooks:
    """Outbound webhooks. Make one per process.

    Args:
        database: holds the rows.
        vault: seals what is in them.
        jobs: make the deliveries.
        retry: of one delivery.
    """

    def __init__(self, *, database: Database, vault: Vault, jobs: Jobs, retry: Retry = PATIENCE) -> None:
        self.endpoints = Endpoints(database, vault)
        self.publisher = Publisher(database=database, vault=vault, jobs=jobs, retry=retry)
        self.deliveries = Deliveries(database=database, vault=vault, jobs=jobs, publisher=self.publisher)
        self._sender = Sender(database=database, vault=vault, deliveries=self.deliveries, publisher=self.publisher)

    def chores(self) -> Sequence[Plugin]:
        """Return the job types that a jobs worker needs to deliver."""
        return (send_plugin(self._sender),)

    async def keep_settling(self) -> None:
        """Close, from time to time, deliveries whose jobs ended without them; ends by cancellation."""
        while True:
            try:
                await self.deliveries.settle()
            except (SQLAlchemyError, OSError) as error:
                _log.warning("deliveries.notSettled", error=type(error).__name__, retry_in=INTERVAL)
            await asyncio.sleep(INTERVAL)
