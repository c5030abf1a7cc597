"""Watching executions live: a snapshot of the rows, then what the feed tells, and a snapshot again where it may lack.

To whom: whoever has the tenant's permission to read executions. A watcher that comes back with the id of the last
notice it saw goes on from there, without gap or duplicate, or begins with a snapshot.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Literal

from msgspec import Struct

from user_workflows.executions.executions import Executions
from user_workflows.executions.tables import OPEN_STATUSES
from user_workflows.executions.views import Execution
from user_workflows.live.feed import FeedReader, is_place


class Notice(Struct, frozen=True, kw_only=True):
    """What a watcher is told. `idle`: there was nothing for a while."""

    type: Literal["snapshot", "execution", "step", "idle"]
    #: the place in the feed up to which the watcher knows everything now
    id: str
    #: of a snapshot the executions as they are now, newest first
    executions: tuple[Execution, ...] = ()
    data: dict[str, Any] = {}


class Watch:
    """Tells watchers what happens. Streams end when Redis goes; the watcher comes back with its last id."""

    def __init__(self, *, executions: Executions, feed: FeedReader) -> None:
        self._executions = executions
        self._feed = feed

    async def place(self, tenant_id: str, after: str | None) -> tuple[str, bool]:
        """Return where to go on after the notice `after`, and whether nothing is missing from there.

        Raises:
            FeedUnavailable: Redis cannot be reached.
        """
        if after is not None and is_place(after) and await self._feed.holds(tenant_id, after):
            return after, True
        # The place first: what happens while the snapshot is read is told after it.
        return await self._feed.end(tenant_id), False

    async def knows_the_end(self, tenant_id: str, execution_id: str, place: str) -> bool:
        """Return whether a watcher at `place` has been told everything about an execution that is closed."""
        if not (await self._executions.get(tenant_id, execution_id)).is_closed:
            return False
        while events := await self._feed.read(tenant_id, place, wait=False):
            if any(event.execution_id == execution_id or event.type == "gap" for event in events):
                return False
            place = events[-1].id
        return True

    async def execution(
        self, tenant_id: str, execution_id: str, place: str, *, is_complete: bool
    ) -> AsyncIterator[Notice]:
        """Tell of one execution, from a place on, until it is closed."""
        known = ""
        if not is_complete:
            now = await self._executions.get(tenant_id, execution_id)
            yield Notice(type="snapshot", id=place, executions=(now,))
            known = now.status
        while known in OPEN_STATUSES or not known:
            events = await self._feed.read(tenant_id, place)
            for event in events:
                place = event.id
                if event.type != "gap" and event.execution_id == execution_id:
                    yield Notice(type=event.type, id=place, data=event.data)
                    known = event.data["status"] if event.type == "execution" else known
            if events and all(event.type != "gap" for event in events):
                continue
            # What ends without its last step is in no feed: the row tells, mended where it has to be.
            now = await self._executions.get(tenant_id, execution_id)
            if events or (now.status != known and (known or now.is_closed)):
                yield Notice(type="snapshot", id=place, executions=(now,))
            else:
                yield Notice(type="idle", id=place)
            known = now.status

    async def tenant(self, tenant_id: str, place: str, *, is_complete: bool) -> AsyncGenerator[Notice, None]:
        """Tell of all executions of a tenant, from a place on, without end."""
        while True:
            if not is_complete:
                page = await self._executions.list(tenant_id)
                yield Notice(type="snapshot", id=place, executions=page.items)
                is_complete = True
            events = await self._feed.read(tenant_id, place)
            for event in events:
                place = event.id
                if event.type == "gap":
                    is_complete = False
                else:
                    yield Notice(type=event.type, id=place, data=event.data)
            if not events:
                yield Notice(type="idle", id=place)
