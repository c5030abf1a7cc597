"""The one generic actor: a Dramatiq thread waits while the event loop runs the job."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError

import structlog
from dramatiq import Actor, Broker
from sqlalchemy.exc import SQLAlchemyError

from internal_jobs.broker import actor_name
from internal_jobs.leases import Ticket

_log = structlog.get_logger(__name__)


def declare_actor(
    broker: Broker,
    lane: str,
    run: Callable[[Ticket], Awaitable[None]],
    loop: asyncio.AbstractEventLoop,
) -> None:
    """Declare the actor of a lane, which passes each message on to `run` in `loop` and holds its thread meanwhile.

    It never fails: the message is acknowledged in any case, and a job that was not done is found in the database.
    """

    async def answer(ticket: Ticket) -> None:
        await run(ticket)

    def receive(tenant_id: str, job_id: str, sequence: int) -> None:
        try:
            asyncio.run_coroutine_threadsafe(answer(Ticket(tenant_id, job_id, sequence)), loop).result()
        except CancelledError:
            pass
        except (SQLAlchemyError, OSError) as error:
            _log.warning("jobs.not_begun", tenant_id=tenant_id, job_id=job_id, error=str(error))
        except Exception:
            _log.exception("jobs.runner_failed", tenant_id=tenant_id, job_id=job_id)

    Actor(receive, broker=broker, actor_name=actor_name(lane), queue_name=lane, priority=0, options={})
