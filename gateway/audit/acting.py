"""One action on the trail: written down before it is done, and after it what came of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError

from gateway.audit.trail import Trail
from gateway.auth.principal import Principal
from gateway.problems import KINDS, describe

log = structlog.get_logger(__name__)


class Answered(Struct):
    """What the trail is to know of an answer; whoever acts fills it in."""

    status: int = 500
    #: the id of the object that was made
    made_id: str | None = None


@asynccontextmanager
async def on_the_trail(
    trail: Trail, principal: Principal, *, action: str, path: str, object_id: str | None, trace_id: str
) -> AsyncIterator[Answered]:
    """Let nothing be done that is not on the trail; an error that comes out counts as its problem.

    Args:
        trail: of all tenants.
        principal: who acts.
        action: an ``operationId``.
        path: that was asked for.
        object_id: what it is done to.
        trace_id: finds the request in the logs.
    """
    record_id = await trail.begin(principal, action=action, path=path, object_id=object_id, trace_id=trace_id)
    answered = Answered()
    try:
        yield answered
    except Exception as error:
        answered.status = KINDS[describe(error).kind][0]
        raise
    finally:
        await _conclude(trail, principal, record_id, answered)


async def _conclude(trail: Trail, principal: Principal, record_id: str, answered: Answered) -> None:
    try:
        await trail.conclude(principal, record_id, status=answered.status, made_id=answered.made_id)
    except (SQLAlchemyError, OSError) as error:
        # It is done, and was written down before; that its outcome is not known is what the trail then says.
        log.warning("audit.notConcluded", record_id=record_id, error=type(error).__name__)
